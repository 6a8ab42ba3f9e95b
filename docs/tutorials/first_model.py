# %% [markdown]
# # A first model
#
# From a trained Keras model to files for phones: which one to take, how far it is from the original, and what to check.
# The network and its data are small enough for a laptop: `train_digits.py` made `model.h5` from scikit-learn's digits.

# %%
import tf_keras  # a notebook that has imported a framework already: mlopt works in processes of its own

import mlopt

print("this notebook has", tf_keras.__name__, tf_keras.__version__)

# %% [markdown]
# ## What is in the file?
#
# Opening a model runs none of its code. Optimizer state is on disk but never ships, so both sizes are told.

# %%
model = mlopt.load("model.h5")
print(f"{model.parameters:,} parameters, {model.macs:,} multiply-accumulates for one image")
print(f"{model.weight_bytes:,} bytes of weights, {model.optimizer_bytes:,} of optimizer state")
for spec in model.signature.inputs + model.signature.outputs:
    print(spec.describe())

# %% [markdown]
# ## Compress it
#
# `data` calibrates full-integer files, `test` measures. Every file is run in its own runtime beside the original.

# %%
result = mlopt.compress("model.h5", data="digits-train.npz", test="digits-test.npz", formats=["tflite", "onnx"])
print(result.table(width=110))

# %% [markdown]
# ## Take one
#
# The recommended file of a format is the smallest whose drop stays within the limit, one point by default.

# %%
for name, best in result.best.items():
    drop = best.evidence.drop_interval
    print(f"{name}: {best.path}, {best.bytes:,} bytes")
    print(f"    drop {best.evidence.drop:.4f} [{drop.low:.4f}, {drop.high:.4f}] on {best.evidence.n} images")
    print(f"    {best.reason}")

# %% [markdown]
# ## What was it quantized to, really?
#
# Read back from the file, not from the request.

# %%
best = result.best["tflite"]
print(best.weights_by_dtype)
for layer in best.layers:
    print(f"{layer.op:<20} {layer.weight_dtype:<8} {layer.elements:>6} weights {layer.bytes:>7} bytes")

# %% [markdown]
# ## Anything to worry about?

# %%
for finding in result.report.findings:
    print(f"{finding.severity}: {finding.about}: {finding.message}")

# %% [markdown]
# The folder beside the model has the files, `manifest.json` for programs, and `report.html` for people.

# %%
result
