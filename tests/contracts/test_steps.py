"""Our own steps, held to what is asked of anyone's."""

import tf_keras

from mlopt.steps.cluster import Cluster
from mlopt.steps.distill import Distill
from mlopt.steps.finetune import Finetune
from mlopt.steps.prune import Prune
from mlopt.steps.quantize import Quantize
from mlopt.steps.slim import Slim
from mlopt.testing.steps import StepContract


class TestDistill(StepContract):
    settings = Distill(epochs=2, batch=32)


class TestSlim(StepContract):
    settings = Slim(macs=0.7, epochs=2, batch=32)
    impossible = Slim(macs=0.01, epochs=2, batch=32)


class TestPrune(StepContract):
    settings = Prune(sparsity=0.5, epochs=2, batch=32)
    impossible = Prune(pattern="block-1x4", epochs=2, batch=32)

    @classmethod
    def impossible_model(cls):
        layers = tf_keras.layers
        return tf_keras.Sequential([layers.Input((5,)), layers.Dense(7), layers.Dense(3, activation="softmax")])


class TestCluster(StepContract):
    settings = Cluster(values=8, epochs=2, batch=32)
    impossible = Cluster(values=256, epochs=2, batch=32)


class TestQuantize(StepContract):
    settings = Quantize(scheme="mixed-4-8", share=0.8, epochs=2, batch=32)
    impossible = Quantize(scheme="mixed-4-8", bytes=10, epochs=2, batch=32)


class TestFinetune(StepContract):
    settings = Finetune(epochs=2, batch=32)
