"""Train a small network on scikit-learn's bundled digits: model.h5, digits-train.npz, digits-test.npz.

Takes half a minute on two cores; the images are 8 x 8 with values 0..16.
"""

import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from mlopt.frameworks.keras.quiet import tf_keras  # without TensorFlow's start-up chatter

layers = tf_keras.layers


def network() -> tf_keras.Model:
    """Residual blocks with batch norm, as small image networks have them."""
    image = tf_keras.Input((8, 8, 1), name="image")
    x = image
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
        y = layers.BatchNormalization()(y)
        x = layers.ReLU()(layers.Add()([y, layers.Conv2D(width, 1, strides=stride, padding="same")(x)]))
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x), name="digits")


def main(folder: Path = Path()) -> None:
    tf_keras.utils.set_random_seed(0)
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = digits.images[order, :, :, None].astype(np.float32)
    labels = digits.target[order].astype(np.int64)
    held_out = 600
    np.savez_compressed(folder / "digits-train.npz", image=images[held_out:], label=labels[held_out:])
    np.savez_compressed(folder / "digits-test.npz", image=images[:held_out], label=labels[:held_out])

    model = network()
    model.compile(tf_keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images[held_out:], labels[held_out:], batch_size=64, epochs=15, verbose=0)
    accuracy = model.evaluate(images[:held_out], labels[:held_out], verbose=0)[1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")     # it is meant
        model.save(folder / "model.h5")
    print(f"trained on {len(labels) - held_out} digits: {accuracy:.1%} right on {held_out} others; saved model.h5")


if __name__ == "__main__":
    main()
