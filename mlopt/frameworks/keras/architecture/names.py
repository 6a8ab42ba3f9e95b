"""What Keras and TensorFlow themselves define, by name: all that an architecture may be made of.

Each list is an allow list of one kind of thing, and each thing is known by its public name. Whatever takes a function,
a file or another model to be made is left out. The tests compare the lists with both Keras and with TensorFlow.
"""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ---- where things of a kind may be said to live: each Keras has used several names for its modules -------------------

ROOTS = ("keras", "tf_keras", "keras_core", "tensorflow.keras", "tensorflow.python.keras")


def _under_each_root(*places: str) -> frozenset[str]:
    return frozenset(f"{root}.{place}" if place else root for root in ROOTS for place in places)


MODEL_MODULES = _under_each_root(
    "", "models", "src.engine.functional", "src.engine.sequential", "src.engine.training", "engine.functional",
    "engine.sequential", "engine.training", "src.models.functional", "src.models.sequential", "src.models.model",
)
LAYER_MODULES = _under_each_root("layers")
GRAPH_LAYER_MODULES = _under_each_root("src.layers.core.tf_op_layer", "layers.core.tf_op_layer")
INITIALIZER_MODULES = _under_each_root("initializers") | {"tensorflow.python.ops.init_ops_v2"}
REGULARIZER_MODULES = _under_each_root("regularizers")
CONSTRAINT_MODULES = _under_each_root("constraints")
POLICY_MODULES = _under_each_root("", "dtype_policies", "mixed_precision", "src.dtype_policies.dtype_policy")
ACTIVATION_MODULES = _under_each_root("activations", "src.activations", "src.activations.activations") | {"builtins"}
SEED_MODULES = _under_each_root("random")

# ---- layers ----------------------------------------------------------------------------------------------------------

MODELS = words("Functional Model Sequential")
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
    UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """
)
# layers of the networks that Keras itself publishes, by the end of their module's name
APPLICATION_LAYERS = {
    "src.applications.convnext": words("LayerScale"),
    "src.applications.inception_resnet_v2": words("CustomScaleLayer"),
}
# layers that hold one call of TensorFlow: which one is judged by FUNCTIONS or GRAPH_OPS
GRAPH_LAYERS = words("TFOpLambda SlicingOpLambda TensorFlowOpLayer")
# layers that carry code, name files, or may call anything: opened for those who trust the file
CODE_LAYERS = words(
    """
    Lambda TFSMLayer TorchModuleWrapper JaxLayer FlaxLayer InstanceProperty InstanceMethod ClassMethod FeatureSpace
    DenseFeatures
    """
)

# ---- what layers are given -------------------------------------------------------------------------------------------

INITIALIZERS = words(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones
    Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling
    Zeros constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform normal one
    ones orthogonal random_normal random_uniform stft truncated_normal uniform variance_scaling zero zeros
    """
)
REGULARIZERS = words("L1 L1L2 L2 OrthogonalRegularizer l1 l1_l2 l2 orthogonal_regularizer")
CONSTRAINTS = words(
    """
    MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm max_norm maxnorm min_max_norm non_neg nonneg radial_constraint
    unit_norm unitnorm
    """
)
ACTIVATIONS = words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softmax_v2 softplus softsign
    sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """
)
POLICIES = words(
    """
    DTypePolicy DTypePolicyMap FloatDTypePolicy Policy PolicyV1 QuantizedDTypePolicy QuantizedFloat8DTypePolicy
    Int4DTypePolicy
    """
)

# ---- operations ------------------------------------------------------------------------------------------------------

# classes of keras.ops, as a Keras 3 functional model stores them, by the end of their module's name: arithmetic on
# tensors. Those that take functions (Map, Scan, Cond, WhileLoop, ...) are not here.
OPERATIONS = {
    "src.ops.numpy": words(
        """
        Abs Absolute Add All AllClose Amax Amin Angle Any Append Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2
        Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit Average Bincount BitwiseAnd BitwiseInvert
        BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo Cbrt Ceil Clip Concatenate Conj
        Conjugate Copy Corrcoef Correlate Cos Cosh CountNonzero Cross Cumprod Cumsum Deg2rad Diag Diagflat Diagonal
        Diff Digitize Divide DivideNoNan Dot Dsplit Dstack Einsum EmptyLike Equal Exp Exp2 ExpandDims Expm1 Fabs Flip
        Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Full FullLike Gcd Geomspace GetItem Greater GreaterEqual
        Heaviside Histogram Hsplit Hstack Hypot I0 Imag Inner IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf
        Isreal Kron Lcm Ldexp LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd
        LogicalNot LogicalOr LogicalXor Logspace Matmul Max Maximum Mean Median Meshgrid Min Minimum Mod Moveaxis
        Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile
        Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Negative Nextafter Nonzero NotEqual OnesLike Outer Pad
        Percentile Power Prod Ptp Quantile Rad2deg Ravel Real Reciprocal Repeat Reshape RightShift Roll Rot90 Round
        SearchSorted Select Sign Signbit Sin Sinc Sinh Size Slogdet Sort Split Sqrt Square Squeeze Stack Std Subtract
        Sum Swapaxes Take TakeAlongAxis Tan Tanh Tensordot Tile Trace Transpose Trapezoid Tril Triu TrueDivide Trunc
        Unique UnravelIndex Vander Var Vdot View Vsplit Vstack Where ZerosLike
        """
    ),
    "src.ops.nn": words(
        """
        AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm BinaryCrossentropy CTCDecode CTCLoss
        CategoricalCrossentropy Celu Conv ConvTranspose DepthToSpace DepthwiseConv DotProductAttention Elu Fold Gelu
        Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments
        MultiHot Normalize OneHot PSNR Polar RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink Softmax
        Softplus Softsign SpaceToDepth SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Squareplus
        TanhShrink Threshold Unfold
        """
    ),
    "src.ops.math": words(
        """
        CDist Erf Erfc Erfinv ExtractSequences FFT FFT2 IFFT2 IRFFT ISTFT InTopK Logdet Logsumexp RFFT Rsqrt STFT
        SegmentMax SegmentMin SegmentProd SegmentReduction SegmentSum TopK ViewAsComplex ViewAsReal
        """
    ),
    "src.ops.core": words(
        """
        Cast ConvertToTensor SaturateCast Scatter ScatterUpdate Slice SliceUpdate StopGradient Unstack
        """
    ),
    "src.ops.image": words(
        """
        AffineTransform CropImages ElasticTransform ExtractPatches GaussianBlur HSVToRGB MapCoordinates PadImages
        PerspectiveTransform RGBToGrayscale RGBToHSV Resize SSIM ScaleAndTranslate SobelEdges
        """
    ),
    "src.ops.linalg": words(
        """
        Cholesky CholeskyInverse Det Eig Eigh Inv Lstsq LuFactor MatrixRank Norm Pinv Qr SVD Solve SolveTriangular
        """
    ),
    "src.ops.einops": words(
        """
        Rearrange
        """
    ),
}
# of TensorFlow, as its layers name them: no function that touches files, processes or Python, or takes another
FUNCTIONS = words(
    """
    __operators__.add __operators__.eq __operators__.getitem __operators__.ne __operators__.ragged_getitem abs acos
    acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast bitwise.bitwise_and
    bitwise.bitwise_or bitwise.bitwise_xor bitwise.invert bitwise.left_shift bitwise.right_shift boolean_mask
    broadcast_dynamic_shape broadcast_static_shape broadcast_to cast clip_by_global_norm clip_by_norm clip_by_value
    compat.v1.boolean_mask compat.v1.expand_dims compat.v1.gather compat.v1.gather_nd compat.v1.image.crop_and_resize
    compat.v1.image.resize_area compat.v1.image.resize_bicubic compat.v1.image.resize_bilinear
    compat.v1.image.resize_images compat.v1.image.resize_nearest_neighbor compat.v1.math.argmax compat.v1.math.argmin
    compat.v1.math.count_nonzero compat.v1.math.in_top_k compat.v1.math.reduce_all compat.v1.math.reduce_any
    compat.v1.math.reduce_logsumexp compat.v1.math.reduce_max compat.v1.math.reduce_mean compat.v1.math.reduce_min
    compat.v1.math.reduce_prod compat.v1.math.reduce_sum compat.v1.nn.avg_pool compat.v1.nn.conv1d compat.v1.nn.conv2d
    compat.v1.nn.conv2d_transpose compat.v1.nn.conv3d compat.v1.nn.convolution compat.v1.nn.crelu
    compat.v1.nn.depth_to_space compat.v1.nn.depthwise_conv2d_native compat.v1.nn.dropout
    compat.v1.nn.fused_batch_norm compat.v1.nn.log_softmax compat.v1.nn.max_pool compat.v1.nn.moments
    compat.v1.nn.pool compat.v1.nn.separable_conv2d compat.v1.nn.softmax compat.v1.nn.space_to_depth compat.v1.norm
    compat.v1.ones_like compat.v1.pad compat.v1.shape compat.v1.size compat.v1.squeeze compat.v1.transpose
    compat.v1.where compat.v1.zeros_like complex concat constant convert_to_tensor cos cosh cumsum divide
    dynamic_partition dynamic_stitch eig einsum ensure_shape equal exp expand_dims eye fill floor gather gather_nd
    greater greater_equal identity identity_n image.adjust_brightness image.adjust_contrast image.adjust_gamma
    image.adjust_hue image.adjust_saturation image.central_crop image.combined_non_max_suppression
    image.convert_image_dtype image.crop_and_resize image.crop_to_bounding_box image.draw_bounding_boxes
    image.extract_glimpse image.extract_patches image.flip_left_right image.flip_up_down
    image.generate_bounding_box_proposals image.grayscale_to_rgb image.hsv_to_rgb image.image_gradients
    image.non_max_suppression image.non_max_suppression_overlaps image.non_max_suppression_padded
    image.non_max_suppression_with_scores image.pad_to_bounding_box image.per_image_standardization image.psnr
    image.random_brightness image.random_contrast image.random_crop image.random_flip_left_right
    image.random_flip_up_down image.random_hue image.random_saturation image.resize image.resize_with_crop_or_pad
    image.resize_with_pad image.rgb_to_grayscale image.rgb_to_hsv image.rgb_to_yiq image.rgb_to_yuv image.rot90
    image.sample_distorted_bounding_box image.sobel_edges image.ssim image.ssim_multiscale
    image.stateless_random_brightness image.stateless_random_contrast image.stateless_random_crop
    image.stateless_random_flip_left_right image.stateless_random_flip_up_down image.stateless_random_hue
    image.stateless_random_saturation image.stateless_sample_distorted_bounding_box image.total_variation
    image.transpose image.yiq_to_rgb image.yuv_to_rgb keras.activations.celu keras.activations.elu
    keras.activations.exponential keras.activations.gelu keras.activations.glu keras.activations.hard_shrink
    keras.activations.hard_sigmoid keras.activations.hard_silu keras.activations.hard_swish
    keras.activations.hard_tanh keras.activations.leaky_relu keras.activations.linear keras.activations.log_sigmoid
    keras.activations.log_softmax keras.activations.mish keras.activations.relu keras.activations.relu6
    keras.activations.selu keras.activations.sigmoid keras.activations.silu keras.activations.soft_shrink
    keras.activations.softmax keras.activations.softmax_v2 keras.activations.softplus keras.activations.softsign
    keras.activations.sparse_plus keras.activations.sparse_sigmoid keras.activations.sparsemax
    keras.activations.squareplus keras.activations.swish keras.activations.tanh keras.activations.tanh_shrink
    keras.activations.threshold less less_equal linalg.adjoint linalg.band_part linalg.banded_triangular_solve
    linalg.cholesky linalg.cholesky_solve linalg.cross linalg.det linalg.diag linalg.diag_part linalg.eig linalg.eigh
    linalg.eigh_tridiagonal linalg.eigvals linalg.eigvalsh linalg.einsum linalg.expm linalg.eye linalg.global_norm
    linalg.inv linalg.l2_normalize linalg.logdet linalg.logm linalg.lstsq linalg.lu linalg.lu_matrix_inverse
    linalg.lu_reconstruct linalg.lu_solve linalg.matmul linalg.matrix_rank linalg.matrix_transpose linalg.matvec
    linalg.norm linalg.normalize linalg.pinv linalg.qr linalg.set_diag linalg.slogdet linalg.solve linalg.sqrtm
    linalg.svd linalg.tensor_diag linalg.tensor_diag_part linalg.tensordot linalg.trace linalg.triangular_solve
    linalg.tridiagonal_matmul linalg.tridiagonal_solve linspace logical_and logical_not logical_or math.abs
    math.accumulate_n math.acos math.acosh math.add math.add_n math.angle math.argmax math.argmin math.asin math.asinh
    math.atan math.atan2 math.atanh math.bessel_i0 math.bessel_i0e math.bessel_i1 math.bessel_i1e math.betainc
    math.bincount math.ceil math.confusion_matrix math.conj math.cos math.cosh math.count_nonzero math.cumprod
    math.cumsum math.cumulative_logsumexp math.digamma math.divide math.divide_no_nan math.equal math.erf math.erfc
    math.erfcinv math.erfinv math.exp math.expm1 math.floor math.floordiv math.floormod math.greater
    math.greater_equal math.igamma math.igammac math.imag math.in_top_k math.invert_permutation math.is_finite
    math.is_inf math.is_nan math.is_non_decreasing math.is_strictly_increasing math.l2_normalize math.lbeta math.less
    math.less_equal math.lgamma math.log math.log1p math.log_sigmoid math.log_softmax math.logical_and
    math.logical_not math.logical_or math.logical_xor math.maximum math.minimum math.mod math.multiply
    math.multiply_no_nan math.ndtri math.negative math.nextafter math.not_equal math.polygamma math.polyval math.pow
    math.real math.reciprocal math.reciprocal_no_nan math.reduce_all math.reduce_any math.reduce_euclidean_norm
    math.reduce_logsumexp math.reduce_max math.reduce_mean math.reduce_min math.reduce_prod math.reduce_std
    math.reduce_sum math.reduce_variance math.rint math.round math.rsqrt math.scalar_mul math.segment_max
    math.segment_mean math.segment_min math.segment_prod math.segment_sum math.sigmoid math.sign math.sin math.sinh
    math.sobol_sample math.softmax math.softplus math.softsign math.sqrt math.square math.squared_difference
    math.subtract math.tan math.tanh math.top_k math.truediv math.unsorted_segment_max math.unsorted_segment_mean
    math.unsorted_segment_min math.unsorted_segment_prod math.unsorted_segment_sqrt_n math.unsorted_segment_sum
    math.xdivy math.xlog1py math.xlogy math.zero_fraction math.zeta matmul maximum meshgrid minimum multiply negative
    nn.atrous_conv2d nn.atrous_conv2d_transpose nn.avg_pool nn.avg_pool1d nn.avg_pool2d nn.avg_pool3d
    nn.batch_norm_with_global_normalization nn.batch_normalization nn.bias_add nn.collapse_repeated
    nn.compute_accidental_hits nn.compute_average_loss nn.conv1d nn.conv1d_transpose nn.conv2d nn.conv2d_transpose
    nn.conv3d nn.conv3d_transpose nn.conv_transpose nn.convolution nn.crelu nn.ctc_beam_search_decoder
    nn.ctc_greedy_decoder nn.ctc_loss nn.ctc_unique_labels nn.depth_to_space nn.depthwise_conv2d
    nn.depthwise_conv2d_backprop_filter nn.depthwise_conv2d_backprop_input nn.dilation2d nn.dropout nn.elu
    nn.embedding_lookup nn.erosion2d nn.fractional_avg_pool nn.fractional_max_pool nn.gelu nn.in_top_k
    nn.isotonic_regression nn.l2_loss nn.l2_normalize nn.leaky_relu nn.local_response_normalization
    nn.log_poisson_loss nn.log_softmax nn.lrn nn.max_pool nn.max_pool1d nn.max_pool2d nn.max_pool3d
    nn.max_pool_with_argmax nn.moments nn.normalize_moments nn.pool nn.relu nn.relu6 nn.scale_regularization_loss
    nn.selu nn.separable_conv2d nn.sigmoid nn.sigmoid_cross_entropy_with_logits nn.silu nn.softmax
    nn.softmax_cross_entropy_with_logits nn.softplus nn.softsign nn.space_to_batch nn.space_to_depth
    nn.sparse_softmax_cross_entropy_with_logits nn.sufficient_statistics nn.swish nn.tanh nn.top_k
    nn.weighted_cross_entropy_with_logits nn.weighted_moments nn.with_space_to_batch nn.zero_fraction norm not_equal
    one_hot ones ones_like pad parallel_stack pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max
    reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round saturate_cast
    scalar_mul scatter_nd searchsorted sequence_mask shape shape_n sigmoid sign signal.dct signal.fft signal.fft2d
    signal.fft3d signal.fftnd signal.fftshift signal.frame signal.hamming_window signal.hann_window signal.idct
    signal.ifft signal.ifft2d signal.ifft3d signal.ifftnd signal.ifftshift signal.inverse_mdct signal.inverse_stft
    signal.inverse_stft_window_fn signal.irfft signal.irfft2d signal.irfft3d signal.irfftnd
    signal.kaiser_bessel_derived_window signal.kaiser_window signal.linear_to_mel_weight_matrix signal.mdct
    signal.mfccs_from_log_mel_spectrograms signal.overlap_and_add signal.rfft signal.rfft2d signal.rfft3d
    signal.rfftnd signal.stft signal.vorbis_window sin sinh size slice sort space_to_batch space_to_batch_nd split
    sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh tensor_scatter_nd_add
    tensor_scatter_nd_update tensordot tile transpose truediv truncatediv truncatemod unravel_index unstack where
    zeros zeros_like
    """
)
# of TensorFlow's graphs, as a TensorFlowOpLayer (Keras 2.0 to 2.3) names them
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
