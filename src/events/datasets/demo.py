"""The built-in demo dataset: simulated recordings of handwritten digits."""

from src.events.datasets import nmnist
from src.events.datasets.dataset import Dataset
from src.events.simulation.digits import DEMO_SETUP, create, is_current

DEMO = Dataset(
    name="DEMO",
    folder="DEMO",
    sensor_size=(DEMO_SETUP.pixels, DEMO_SETUP.pixels, 2),
    classes=nmnist.NMNIST.classes,
    full_size=1797,
    own_test_split=True,
    find_recordings=nmnist.find_recordings,
    read=nmnist.read,
    obtain=create,
    is_current=is_current,
    note="DEMO is simulated: real handwritten digits, events from a sensor model. Don't publish accuracies on it",
)
