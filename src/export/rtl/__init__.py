"""A trained network as streaming hardware: events in, a class per frame and per recording out."""
