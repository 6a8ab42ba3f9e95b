"""What each setting of a layer, or of what a layer is given, may hold: the types of their arguments, by name.

A name means the same wherever either Keras uses it, so one table serves all classes; a test compares it with their
signatures. A setting that is not here may hold numbers alone: a number names no code and no file.
"""

import enum

from mlopt.frameworks.keras.architecture.names import words


class Kind(enum.Enum):
    """The type of a setting."""

    NUMBERS = "a number, or numbers in lists"
    WORDS = "a word, or words in lists"
    PLAIN = "numbers and words in lists"
    TERMS = "a list of words or numbers, held by the model itself"
    NOTHING = "nothing"
    VALUE = "numbers, words and tensors in lists and dictionaries"
    LAYER = "a layer"
    LAYERS = "layers"
    ACTIVATION = "an activation"
    INITIALIZER = "an initializer"
    REGULARIZER = "a regularizer"
    CONSTRAINT = "a constraint"
    DTYPE = "a dtype or a dtype policy"
    DTYPES = "dtypes or dtype policies by name"
    SEED = "a number or a seed generator"


_BY_KIND = {
    Kind.NUMBERS: """
        addition_factor adjustment all_ops alpha antialias attention_axes autocast axes axis batch_input_shape
        batch_shape batch_size bias_axes bin_boundaries bins brightness_factor build_input_shape center chain_depth
        clip_limit contrast_factor crop_to_aspect_ratio cropping depth_multiplier dilation_rate dims dropout dynamic
        epsilon expand_dims factor fft_length fill_value filters flash_attention force_generator frame_length
        frame_step fused gain go_backwards gptq_unpacked_column_size groups head_dim height height_factor hue_factor
        idf_weights implementation init_values input_axes input_dim input_length input_shape invert keepdims
        kernel_size key_dim key_shape l1 l2 logit_soft_cap lora_alpha lora_rank mag_exp mask_value mask_zero max_freq
        max_number max_tokens max_value maxval mean min_freq min_power min_value minval momentum n negative_slope
        newshape ngrams noise_shape normalize num_bins num_chains num_heads num_key_value_heads num_mel_bins
        num_oov_indices num_ops num_query_heads num_tokens offset optional output_axes output_dim output_padding
        output_sequence_length output_shape output_size pad_to_aspect_ratio pad_to_max_tokens periodic pool_size
        power_iterations power_to_db projection_dim query_shape ragged rank rate recurrent_dropout ref_power renorm
        renorm_clipping renorm_momentum reset_after return_sequences return_state robust_masking sampling_rate
        saturation_factor scale sequence_length sequence_stride shape shared_axes sigma size sliding_window
        softmax_robust_masking sparse stateful stddev strides supports_masking synchronized target_shape theta
        threshold threshold_factor tie_weights tile_grid_size time_major top_db trainable unit_forget_bias units
        unroll use_bias use_cudnn use_gate use_scale value value_dim value_range value_shape variance
        virtual_batch_size width width_factor x_factor y_factor zero_output_for_mask
    """,
    Kind.WORDS: """
        bounding_box_format data_format distribution encoding equation fill_mode interpolation merge_mode mode name
        oov_method output_mode pool_mode rng_type scaling score_mode side source_name split standardize
        vocabulary_dtype window
    """,
    Kind.PLAIN: "mask_token oov_token padding salt",
    Kind.TERMS: "vocabulary",
    Kind.NOTHING: """
        expected_column_type input_spec input_tensor loss_scale partitioner quantization_config type_spec weights
    """,
    Kind.VALUE: "input_layers output_layers",
    Kind.LAYER: "layer backward_layer forward_layer cell",
    Kind.LAYERS: "layers cells",
    Kind.ACTIVATION: "activation recurrent_activation",
    Kind.INITIALIZER: """
        alpha_initializer beta_initializer bias_initializer depthwise_initializer embeddings_initializer
        gamma_initializer kernel_initializer moving_mean_initializer moving_variance_initializer pointwise_initializer
        recurrent_initializer
    """,
    Kind.REGULARIZER: """
        activity_regularizer alpha_regularizer beta_regularizer bias_regularizer depthwise_regularizer
        embeddings_regularizer gamma_regularizer kernel_regularizer pointwise_regularizer recurrent_regularizer
    """,
    Kind.CONSTRAINT: """
        alpha_constraint beta_constraint bias_constraint depthwise_constraint embeddings_constraint gamma_constraint
        kernel_constraint pointwise_constraint recurrent_constraint
    """,
    Kind.DTYPE: "dtype reverse_dtype default_policy",
    Kind.DTYPES: "policy_map",
    Kind.SEED: "seed",
}
SETTINGS: dict[str, Kind] = {name: kind for kind, names in _BY_KIND.items() for name in words(names)}
