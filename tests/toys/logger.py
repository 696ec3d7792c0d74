"""A toy logger: a line of JSON per entry."""

import json

from src.training.loggers.logger import Logger


class ToyLogger(Logger):
    """The file toy.jsonl in logs/<job_id>."""

    name = "the toy logger"
    option = "none"

    @staticmethod
    def is_asked_for(config):
        return True

    def __init__(self, config, folder, resume):
        self.file = (folder / "toy.jsonl").open("w")

    def log(self, step, values):
        self.file.write(json.dumps([step, values]) + "\n")

    def close(self, failed):
        self.file.close()
