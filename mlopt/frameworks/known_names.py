"""What Keras and TensorFlow themselves define, by name: layers, functions and operations that carry no foreign code.

Kept as text, so that a file is judged without importing a framework; a test compares it with both Keras.
"""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = words(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization
    BatchNormalizationV1 BatchNormalizationV2 Bidirectional CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
    Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution2D Convolution3D Cropping1D Cropping2D
    Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding
    Equalization Flatten GRU GRUCell GRUCellV1 GRUCellV2 GRUV1 GRUV2 GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization GroupQueryAttention GroupedQueryAttention HashedCrossing Hashing Identity
    InputLayer IntegerLookup LSTM LSTMCell LSTMCellV1 LSTMCellV2 LSTMV1 LSTMV2 LayerNormalization LeakyReLU
    LocallyConnected1D LocallyConnected2D Masking MaxNumBoundingBoxes MaxPooling1D MaxPooling2D MaxPooling3D Maximum
    MelSpectrogram Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization
    RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
    RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue
    RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding
    STFTSpectrogram SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D SimpleRNN
    SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
    StackedRNNCells StringLookup Subtract SyncBatchNormalization TextVectorization ThresholdedReLU TimeDistributed
    UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D Functional
    Model Sequential
    """
)
VALUES = words(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer Initializer LecunNormal
    LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer
    TruncatedNormal VarianceScaling Zeros L1 L1L2 L2 OrthogonalRegularizer Regularizer Constraint MaxNorm MinMaxNorm
    NonNeg RadialConstraint UnitNorm DTypePolicy DTypePolicyMap FloatDTypePolicy Policy PolicyV1
    QuantizedDTypePolicy QuantizedFloat8DTypePolicy Int4DTypePolicy TensorShape __keras_tensor__ __numpy__
    __tensor__ __bytes__ __slice__ __ellipsis__ __tuple__
    """
)
# activations, and the lower-case initialisers, regularizers and constraints
FUNCTIONS = words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softmax_v2 softplus softsign
    sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold constant glorot_normal
    glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform ones orthogonal random_normal
    random_uniform stft truncated_normal variance_scaling zeros l1 l1_l2 l2 orthogonal_regularizer max_norm
    min_max_norm non_neg radial_constraint unit_norm
    """
)
# classes of keras.ops, as a Keras 3 functional model stores them: plain arithmetic on tensors
OPERATIONS = words(
    """
    Abs Absolute Add Amax Amin Any All Arange Arccos Arcsin Arctan Arctan2 Argmax Argmin Average AveragePool
    BroadcastTo Cast Ceil Celu Clip Concatenate Conv ConvTranspose ConvertToTensor Copy Cos Cosh Cumsum Cumprod
    DepthToSpace DepthwiseConv Diagonal Divide DivideNoNan Dot DotProductAttention Einsum Elu Equal Erf Exp
    ExpandDims Expm1 Flip Floor FloorDivide FullLike Full Gelu GetItem Glu Greater GreaterEqual HardSigmoid HardSilu
    HardTanh HardShrink Identity LayerNorm LeakyRelu Less LessEqual Log Log10 Log1p Log2 LogSigmoid LogSoftmax
    LogicalAnd LogicalNot LogicalOr LogicalXor Logsumexp Matmul Max MaxPool Maximum Mean Min Minimum Mod Moments
    Moveaxis Multiply Negative Norm Normalize NotEqual OneHot OnesLike Pad Power Prod Ravel Reciprocal Relu Relu6
    Repeat Reshape Resize RMSNorm Roll Round Rsqrt Selu SeparableConv Sigmoid Sign Silu Sin Sinh Slice Softmax
    Softplus Softsign SoftShrink SpaceToDepth Split Sqrt Square Squareplus Squeeze Stack Std StopGradient Subtract
    Sum Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold Tile TopK Transpose Tril Triu TrueDivide
    Unstack Var Where ZerosLike
    """
)
# of TensorFlow's top level, without any that touches files, processes or Python
TF_FUNCTIONS = words(
    """
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space boolean_mask
    broadcast_to cast clip_by_norm clip_by_value concat constant convert_to_tensor cos cosh cumsum divide eig einsum
    ensure_shape equal exp expand_dims eye fill floor gather gather_nd greater greater_equal identity less
    less_equal linspace logical_and logical_not logical_or matmul maximum meshgrid minimum multiply negative norm
    not_equal one_hot ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max
    reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse roll round saturate_cast scalar_mul shape
    sigmoid sign sin sinh size slice sort space_to_batch split sqrt square squeeze stack stop_gradient strided_slice
    subtract tan tanh tensordot tile transpose truediv truncatediv unstack where zeros zeros_like
    compat.v1.transpose compat.v1.where compat.v1.gather compat.v1.squeeze compat.v1.expand_dims
    """
)
# what a TensorFlowOpLayer (Keras 2.0 to 2.3) may name
GRAPH_OPS = words(
    """
    Abs Add AddV2 AvgPool BiasAdd Cast ConcatV2 Conv2D Cos DepthToSpace DepthwiseConv2dNative Div Elu Equal Erf Exp
    ExpandDims Floor GatherV2 Greater GreaterEqual Identity LeakyRelu Less LessEqual Log LogSoftmax MatMul
    BatchMatMulV2 Max MaxPool Maximum Mean Min Minimum Mul Neg Pack Pad PadV2 Pow Prod RealDiv Reciprocal Relu Relu6
    Reshape ResizeBilinear ResizeNearestNeighbor Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Tanh Tile
    Transpose Unpack
    """
)
