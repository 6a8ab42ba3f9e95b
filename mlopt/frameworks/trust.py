"""Would opening this architecture run code that the file carries or names? Told from its JSON, before anything is built.

Everything that Keras itself defines is listed here by name; whatever is not listed counts as somebody's code. Losses,
metrics and optimizers are never rebuilt (models are opened without compiling), so their parts are not looked at.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlopt.errors import UntrustedCode

LAYERS = frozenset(
    ["Activation", "ActivityRegularization", "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "Add", "AdditiveAttention", "AlphaDropout", "Attention", "AugMix", "AutoContrast", "Average", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2", "Bidirectional", "CategoryEncoding", "CenterCrop", "Concatenate", "ContrastLimitedAdaptiveHistogramEqualization", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Convolution1D", "Convolution2D", "Convolution3D", "Cropping1D", "Cropping2D", "Cropping3D", "CutMix", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "Discretization", "Dot", "Dropout", "ELU", "EinsumDense", "Embedding", "Equalization", "Flatten", "GRU", "GRUCell", "GRUCellV1", "GRUCellV2", "GRUV1", "GRUV2", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GroupNormalization", "GroupQueryAttention", "GroupedQueryAttention", "HashedCrossing", "Hashing", "Identity", "InputLayer", "IntegerLookup", "LSTM", "LSTMCell", "LSTMCellV1", "LSTMCellV2", "LSTMV1", "LSTMV2", "LayerNormalization", "LeakyReLU", "LocallyConnected1D", "LocallyConnected2D", "Masking", "MaxNumBoundingBoxes", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum", "MelSpectrogram", "Minimum", "MixUp", "MultiHeadAttention", "Multiply", "Normalization", "PReLU", "Permute", "Pipeline", "RMSNormalization", "RNN", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomWidth", "RandomZoom", "ReLU", "RepeatVector", "Rescaling", "Reshape", "Resizing", "ReversibleEmbedding", "STFTSpectrogram", "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D", "SimpleRNN", "SimpleRNNCell", "Softmax", "Solarization", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "SpectralNormalization", "StackedRNNCells", "StringLookup", "Subtract", "SyncBatchNormalization", "TextVectorization", "ThresholdedReLU", "TimeDistributed", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Functional", "Model", "Sequential"]
)
VALUES = frozenset(
    ["Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal", "OrthogonalInitializer", "RandomNormal", "RandomUniform", "STFT", "STFTInitializer", "TruncatedNormal", "VarianceScaling", "Zeros", "L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer", "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "RadialConstraint", "UnitNorm", "DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "Policy", "PolicyV1", "QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy", "Int4DTypePolicy", "TensorShape", "__keras_tensor__", "__numpy__", "__tensor__", "__bytes__", "__slice__", "__ellipsis__", "__tuple__"]
)
FUNCTIONS = frozenset(   # activations, and the lower-case initialisers, regularizers and constraints
    ["celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softmax_v2", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "swish", "tanh", "tanh_shrink", "threshold", "constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform", "stft", "truncated_normal", "variance_scaling", "zeros", "l1", "l1_l2", "l2", "orthogonal_regularizer", "max_norm", "min_max_norm", "non_neg", "radial_constraint", "unit_norm"]
)
OPERATIONS = frozenset(   # classes of keras.ops, as a Keras 3 functional model stores them: plain arithmetic on tensors
    ["Abs", "Absolute", "Add", "Amax", "Amin", "Any", "All", "Arange", "Arccos", "Arcsin", "Arctan", "Arctan2", "Argmax", "Argmin", "Average", "AveragePool", "BroadcastTo", "Cast", "Ceil", "Celu", "Clip", "Concatenate", "Conv", "ConvTranspose", "ConvertToTensor", "Copy", "Cos", "Cosh", "Cumsum", "Cumprod", "DepthToSpace", "DepthwiseConv", "Diagonal", "Divide", "DivideNoNan", "Dot", "DotProductAttention", "Einsum", "Elu", "Equal", "Erf", "Exp", "ExpandDims", "Expm1", "Flip", "Floor", "FloorDivide", "FullLike", "Full", "Gelu", "GetItem", "Glu", "Greater", "GreaterEqual", "HardSigmoid", "HardSilu", "HardTanh", "HardShrink", "Identity", "LayerNorm", "LeakyRelu", "Less", "LessEqual", "Log", "Log10", "Log1p", "Log2", "LogSigmoid", "LogSoftmax", "LogicalAnd", "LogicalNot", "LogicalOr", "LogicalXor", "Logsumexp", "Matmul", "Max", "MaxPool", "Maximum", "Mean", "Min", "Minimum", "Mod", "Moments", "Moveaxis", "Multiply", "Negative", "Norm", "Normalize", "NotEqual", "OneHot", "OnesLike", "Pad", "Power", "Prod", "Ravel", "Reciprocal", "Relu", "Relu6", "Repeat", "Reshape", "Resize", "RMSNorm", "Roll", "Round", "Rsqrt", "Selu", "SeparableConv", "Sigmoid", "Sign", "Silu", "Sin", "Sinh", "Slice", "Softmax", "Softplus", "Softsign", "SoftShrink", "SpaceToDepth", "Split", "Sqrt", "Square", "Squareplus", "Squeeze", "Stack", "Std", "StopGradient", "Subtract", "Sum", "Swapaxes", "Take", "TakeAlongAxis", "Tan", "Tanh", "TanhShrink", "Tensordot", "Threshold", "Tile", "TopK", "Transpose", "Tril", "Triu", "TrueDivide", "Unstack", "Var", "Where", "ZerosLike"]
)
KERAS_MODULES = ("keras", "tf_keras", "keras_core", "tensorflow.keras", "tensorflow.python.keras")
TF_NAMESPACES = ("math.", "nn.", "linalg.", "signal.", "image.", "bitwise.", "__operators__.", "keras.activations.")
TF_FUNCTIONS = frozenset(   # of TensorFlow's top level, without any that touches files, processes or Python
    ["abs", "acos", "acosh", "add", "add_n", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atan2", "atanh", "batch_to_space", "boolean_mask", "broadcast_to", "cast", "clip_by_norm", "clip_by_value", "concat", "constant", "convert_to_tensor", "cos", "cosh", "cumsum", "divide", "eig", "einsum", "ensure_shape", "equal", "exp", "expand_dims", "eye", "fill", "floor", "gather", "gather_nd", "greater", "greater_equal", "identity", "less", "less_equal", "linspace", "logical_and", "logical_not", "logical_or", "matmul", "maximum", "meshgrid", "minimum", "multiply", "negative", "norm", "not_equal", "one_hot", "ones", "ones_like", "pad", "pow", "range", "rank", "realdiv", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "repeat", "reshape", "reverse", "roll", "round", "saturate_cast", "scalar_mul", "shape", "sigmoid", "sign", "sin", "sinh", "size", "slice", "sort", "space_to_batch", "split", "sqrt", "square", "squeeze", "stack", "stop_gradient", "strided_slice", "subtract", "tan", "tanh", "tensordot", "tile", "transpose", "truediv", "truncatediv", "unstack", "where", "zeros", "zeros_like", "compat.v1.transpose", "compat.v1.where", "compat.v1.gather", "compat.v1.squeeze", "compat.v1.expand_dims"]
)
GRAPH_OPS = frozenset(   # what a TensorFlowOpLayer (Keras 2.0 to 2.3) may name
    ["Abs", "Add", "AddV2", "AvgPool", "BiasAdd", "Cast", "ConcatV2", "Conv2D", "Cos", "DepthToSpace", "DepthwiseConv2dNative", "Div", "Elu", "Equal", "Erf", "Exp", "ExpandDims", "Floor", "GatherV2", "Greater", "GreaterEqual", "Identity", "LeakyRelu", "Less", "LessEqual", "Log", "LogSoftmax", "MatMul", "BatchMatMulV2", "Max", "MaxPool", "Maximum", "Mean", "Min", "Minimum", "Mul", "Neg", "Pack", "Pad", "PadV2", "Pow", "Prod", "RealDiv", "Reciprocal", "Relu", "Relu6", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "Round", "Rsqrt", "Select", "SelectV2", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Square", "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unpack"]
)
NEVER_REBUILT = frozenset({"compile_config", "build_config", "training_config", "optimizer_config"})
FUNCTION_KEYS = frozenset({"activation", "recurrent_activation"})


def check(
    path: Path,
    config: Mapping[str, Any],
    *,
    trust_code: bool = False,
    custom_names: Collection[str] = (),
) -> None:
    """Raise `UntrustedCode`, naming each layer, when rebuilding `config` would run or look up code.

    `custom_names` are the classes and functions that the caller supplies; they count as known.
    """
    stored: dict[str, str] = {}
    named: dict[str, str] = {}
    for layer, danger, supplied in dangers(config):
        if supplied is None:
            if not trust_code:
                stored[layer] = danger
        elif supplied not in custom_names:
            named[layer] = danger
    if stored or named:
        remedies = []
        if stored:
            remedies.append("If you trust whoever made the file, add --trust-code.")
        if named:
            remedies.append("Give your own classes and functions with --custom-objects module:NAME.")
        raise UntrustedCode(path, {**stored, **named}, " ".join(remedies))


def dangers(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Each (layer name, what it is, name of the custom object) in an architecture; None: code or files, not a name."""
    pending: list[tuple[str, Any]] = [("", value) for key, value in config.items() if key not in NEVER_REBUILT]
    found = _danger(config)
    if found is not None:
        yield (str(config.get("class_name", "model")), *found)
    while pending:
        where, node = pending.pop()
        if isinstance(node, list):
            pending.extend((where, item) for item in node)
        elif isinstance(node, Mapping):
            where = _name(node, where)
            found = _danger(node)
            if found is not None:
                yield (where or str(node.get("class_name", "model")), *found)
            pending.extend((where, value) for key, value in node.items() if key not in NEVER_REBUILT)


def _name(node: Mapping[str, Any], outer: str) -> str:
    """"outer/inner" for a layer's own entry; the layer that it stands in for anything else."""
    config = node.get("config")
    own = node.get("name") or (config.get("name") if isinstance(config, Mapping) else None)
    is_layer = isinstance(node.get("class_name"), str) and isinstance(own, str)
    if not is_layer or node.get("class_name") in VALUES:
        return outer
    return f"{outer}/{own}" if outer else str(own)


def _danger(node: Mapping[str, Any]) -> tuple[str, str | None] | None:
    if "class_name" not in node:
        return _danger_of_settings(node)
    kind = node["class_name"]
    if not isinstance(kind, str):
        return "a class without a name", None
    module, registered = node.get("module"), node.get("registered_name")
    config = node.get("config")
    if kind in ("Lambda", "__lambda__") or (isinstance(config, Mapping) and config.get("class_name") == "__lambda__"):
        return "Lambda", None
    if kind == "function" or registered == "function":
        name = config if isinstance(config, str) else ""
        return None if name in FUNCTIONS and module in (None, "builtins") else (f"function {module}.{name}", name)
    if ">" in kind or (isinstance(registered, str) and ">" in registered):
        custom = (kind if ">" in kind else str(registered)).rpartition(">")[2]
        return f"custom {custom}", custom
    if isinstance(module, str) and module.partition(".")[0] != "builtins" and not _is_keras(module):
        return f"custom {module}.{kind}", kind
    return _danger_of_layer(kind, config if isinstance(config, Mapping) else {})


def _danger_of_layer(kind: str, config: Mapping[str, Any]) -> tuple[str, str | None] | None:
    if kind == "TFOpLambda":
        function = str(config.get("function", ""))
        plain = function.removeprefix("compat.v1.")
        known = plain.startswith(TF_NAMESPACES) or function in TF_FUNCTIONS
        return None if known else (f"TFOpLambda tf.{function}", None)
    if kind == "SlicingOpLambda":
        function = str(config.get("function", ""))
        return None if function.startswith(TF_NAMESPACES) else (f"SlicingOpLambda tf.{function}", None)
    if kind in ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        return f"{kind}, which loads a model of its own", None
    if kind == "TensorFlowOpLayer":
        ops = re.findall(r"""["']?\bop["']?\s*:\s*["'](\w+)["']""", str(config.get("node_def", "")))
        return None if ops and GRAPH_OPS.issuperset(ops) else (f"TensorFlowOpLayer {', '.join(ops) or '?'}", None)
    if kind in ("InstanceProperty", "InstanceMethod", "ClassMethod"):
        return f"{kind}, which may name any operation", None
    if isinstance(config.get("vocabulary"), str):
        return f"{kind}, which reads the file {config['vocabulary']!r}", None
    if kind in LAYERS or kind in VALUES or kind in OPERATIONS or kind in FUNCTIONS:
        return None
    return f"custom {kind}", kind


def _danger_of_settings(node: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """A layer's settings may name a function by plain text."""
    for key in FUNCTION_KEYS & node.keys():
        name = node[key]
        if isinstance(name, str) and name not in FUNCTIONS:
            custom = name.rpartition(">")[2]
            return f"custom function {custom}", custom
    return None


def _is_keras(module: str) -> bool:
    return any(module == known or module.startswith(f"{known}.") for known in KERAS_MODULES)
