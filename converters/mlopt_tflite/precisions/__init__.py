"""The makers of files. Precisions that run the same code share a module: a change of it remakes their files alone.

weights             float16, int8-weights, int8-dynamic: weights alone are stored in fewer bits
integer             int8, int16x8: the lowering to integers, with what is searched around it
low_bits            int4-weights, mixed-4-8: 4-bit weights on float activations
integer_low_bits    int8-mixed-4-8: the mixture of widths, lowered to integers
"""
