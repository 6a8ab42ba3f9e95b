/* One TFLite file opened through LiteRT's C interface, with its inputs filled. */
#ifndef MLOPT_MODEL_H
#define MLOPT_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include "litert.h"

enum { MOST_TENSORS = 64 };

struct model {
    struct litert api;
    Handle environment, file, compiled;
    size_t inputs, outputs;
    Handle input[MOST_TENSORS], output[MOST_TENSORS];
    int has_free_sizes; /* an input whose file leaves a size open */
    int output_element[MOST_TENSORS];
    size_t output_bytes[MOST_TENSORS];
    char error[256]; /* "" while all is well */
};

static int model_failed(struct model *m, const char *step, int status)
{
    if (status != LITERT_OK)
        snprintf(m->error, sizeof m->error, "LiteRt%s answered with status %d", step, status);
    return status != LITERT_OK;
}

/* Call a function of the library; leave the caller with 0 when it fails. */
#define MUST(m, name, ...)                                          \
    do {                                                            \
        if (model_failed(m, #name, (m)->api.name(__VA_ARGS__)))     \
            return 0;                                               \
    } while (0)

/* An environment that is there already, of another model in this process, is shared. */
static int model_load(struct model *m, const char *path)
{
    struct environment_option accelerators = {OPTION_ACCELERATORS, {ANY_INTEGER, ACCELERATOR_CPU}};
    if (m->environment == NULL)
        MUST(m, CreateEnvironment, 1, &accelerators, &m->environment);
    MUST(m, CreateModelFromFile, m->environment, path, &m->file);
    return 1;
}

static int model_compile(struct model *m, int threads)
{
    Handle options, kernels;
    char settings[64];
    snprintf(settings, sizeof settings, "num_threads = %d\n", threads);
    MUST(m, CreateOptions, &options);
    MUST(m, SetOptionsHardwareAccelerators, options, ACCELERATOR_CPU);
    /* Not documented: the settings of the CPU kernels are TOML text under the name "xnnpack". */
    MUST(m, CreateOpaqueOptions, "xnnpack", strdup(settings), free, &kernels);
    MUST(m, AddOpaqueOptions, options, kernels);
    MUST(m, CreateCompiledModel, m->environment, m->file, options, &m->compiled);
    return 1;
}

static int has_unknown_size(const struct layout *layout)
{
    for (uint32_t i = 0; i < (layout->rank & 0x7f) && i < 8; i++)
        if (layout->dimensions[i] < 0)
            return 1;
    return 0;
}

static int model_make_input(struct model *m, Handle signature, size_t index)
{
    Handle tensor, needs;
    struct tensor_type type = {0};
    MUST(m, GetSignatureInputTensorByIndex, signature, index, &tensor);
    MUST(m, GetRankedTensorType, tensor, &type);
    if (has_unknown_size(&type.layout)) {
        m->has_free_sizes = 1;
        MUST(m, GetCompiledModelInputTensorLayout, m->compiled, 0, index, &type.layout);
    }
    MUST(m, GetCompiledModelInputBufferRequirements, m->compiled, 0, index, &needs);
    MUST(m, CreateManagedTensorBufferFromRequirements, m->environment, &type, needs, &m->input[index]);
    return type.element;
}

static int model_make_output(struct model *m, Handle signature, size_t index)
{
    Handle tensor, needs;
    struct tensor_type type = {0};
    struct layout layouts[MOST_TENSORS];
    MUST(m, GetSignatureOutputTensorByIndex, signature, index, &tensor);
    MUST(m, GetRankedTensorType, tensor, &type);
    if (has_unknown_size(&type.layout)) {
        MUST(m, GetCompiledModelOutputTensorLayouts, m->compiled, 0, m->outputs, layouts, 1);
        type.layout = layouts[index];
    }
    MUST(m, GetCompiledModelOutputBufferRequirements, m->compiled, 0, index, &needs);
    MUST(m, CreateManagedTensorBufferFromRequirements, m->environment, &type, needs, &m->output[index]);
    MUST(m, GetTensorBufferPackedSize, m->output[index], &m->output_bytes[index]);
    m->output_element[index] = type.element;
    return 1;
}

/* splitmix64: the same values on every processor for the same seed. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Random bytes for 8 and 16 bits, [0, 1) for floats; zeros for all else: indices and masks must stay in range. */
static int model_fill(struct model *m, size_t index, int element, uint64_t *state)
{
    void *memory;
    size_t bytes;
    MUST(m, GetTensorBufferPackedSize, m->input[index], &bytes);
    MUST(m, LockTensorBuffer, m->input[index], &memory, LOCK_TO_WRITE);
    memset(memory, 0, bytes);
    if (element == FLOAT32)
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            ((float *)memory)[i] = (float)(next_random(state) >> 40) / 16777216.0f;
    if (element == INT8 || element == UINT8 || element == INT16)
        for (size_t i = 0; i < bytes; i++)
            ((uint8_t *)memory)[i] = (uint8_t)(next_random(state) >> 56);
    MUST(m, UnlockTensorBuffer, m->input[index]);
    return 1;
}

static int model_make_buffers(struct model *m, uint64_t seed)
{
    Handle signature;
    size_t signatures;
    MUST(m, GetNumModelSignatures, m->file, &signatures);
    if (signatures < 1) {
        snprintf(m->error, sizeof m->error, "the file has no signature");
        return 0;
    }
    MUST(m, GetModelSignature, m->file, 0, &signature);
    MUST(m, GetNumSignatureInputs, signature, &m->inputs);
    MUST(m, GetNumSignatureOutputs, signature, &m->outputs);
    if (m->inputs > MOST_TENSORS || m->outputs > MOST_TENSORS) {
        snprintf(m->error, sizeof m->error, "the file has more than %d inputs or outputs", MOST_TENSORS);
        return 0;
    }
    for (size_t i = 0; i < m->inputs; i++) {
        int element = model_make_input(m, signature, i);
        if (element == STRING)
            snprintf(m->error, sizeof m->error, "input %zu holds text, which this runner cannot make", i);
        if (m->error[0] || !model_fill(m, i, element, &seed))
            return 0;
    }
    for (size_t i = 0; i < m->outputs; i++)
        if (!model_make_output(m, signature, i))
            return 0;
    return 1;
}

static int model_run(struct model *m)
{
    MUST(m, RunCompiledModel, m->compiled, 0, m->inputs, m->input, m->outputs, m->output);
    return 1;
}

/* The raw bytes of all buffers, one after the other. */
static int model_write_tensors(struct model *m, const Handle *buffers, size_t count, const char *path)
{
    FILE *file = fopen(path, "wb");
    void *memory;
    size_t bytes, written = 0, wanted = 0;
    for (size_t i = 0; file != NULL && i < count; i++) {
        MUST(m, GetTensorBufferPackedSize, buffers[i], &bytes);
        MUST(m, LockTensorBuffer, buffers[i], &memory, LOCK_TO_READ);
        written += fwrite(memory, 1, bytes, file);
        wanted += bytes;
        MUST(m, UnlockTensorBuffer, buffers[i]);
    }
    if (file == NULL || fclose(file) != 0 || written != wanted)
        snprintf(m->error, sizeof m->error, "cannot write %s", path);
    return m->error[0] == '\0';
}

#endif
