/* The part of LiteRT's C interface that the runner calls, found by name in libLiteRt.so at run time.
 *
 * The wheel ships the library without headers. What stands here was checked against the library of the versions that
 * build.py names, on x86-64 and aarch64; build.py refuses any other version, because a changed argument would not show
 * as an error but as a wrong number.
 */
#ifndef MLOPT_LITERT_H
#define MLOPT_LITERT_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef void *Handle; /* environment, model, signature, tensor, buffer ...: pointers that only the library looks into */

enum { LITERT_OK = 0 };
enum { ACCELERATOR_CPU = 1 };
enum { LOCK_TO_READ = 0, LOCK_TO_WRITE = 1 };
enum { ANY_INTEGER = 2 };
/* Environment option: the accelerators to register. Left out, the library opens a GPU library that stops the process
 * with an illegal instruction on processors before ARMv8.1, the Cortex-A72 among them. */
enum { OPTION_ACCELERATORS = 24 };

enum element { FLOAT32 = 1, INT32 = 2, UINT8 = 3, INT64 = 4, STRING = 5, BOOL = 6, INT16 = 7, INT8 = 9 };

struct environment_option {
    int tag;
    struct { int type; int64_t integer; } value;
};
_Static_assert(sizeof(struct environment_option) == 24, "as in LiteRT's own interface");

struct layout {
    uint32_t rank; /* 7 bits, then a flag: the strides are given */
    int32_t dimensions[8]; /* below 0: unknown until the model is compiled */
    uint32_t strides[8];
};

struct tensor_type {
    int32_t element;
    struct layout layout;
    char room[64]; /* a library that writes more than we know does not write over our stack */
};

#define LITERT_FUNCTIONS(F)                                                                                    \
    F(int, CreateEnvironment, (int count, const struct environment_option *, Handle *environment))             \
    F(int, CreateModelFromFile, (Handle environment, const char *path, Handle *model))                         \
    F(int, GetNumModelSignatures, (Handle model, size_t *count))                                               \
    F(int, GetModelSignature, (Handle model, size_t index, Handle *signature))                                 \
    F(int, GetNumSignatureInputs, (Handle signature, size_t *count))                                           \
    F(int, GetNumSignatureOutputs, (Handle signature, size_t *count))                                          \
    F(int, GetSignatureInputTensorByIndex, (Handle signature, size_t index, Handle *tensor))                   \
    F(int, GetSignatureOutputTensorByIndex, (Handle signature, size_t index, Handle *tensor))                  \
    F(int, GetRankedTensorType, (Handle tensor, struct tensor_type *))                                         \
    F(int, CreateOptions, (Handle *options))                                                                   \
    F(int, SetOptionsHardwareAccelerators, (Handle options, int accelerators))                                 \
    F(int, CreateOpaqueOptions, (const char *identifier, void *toml, void (*destroy)(void *), Handle *opaque)) \
    F(int, AddOpaqueOptions, (Handle options, Handle opaque))                                                  \
    F(int, CreateCompiledModel, (Handle environment, Handle model, Handle options, Handle *compiled))          \
    F(int, GetCompiledModelInputBufferRequirements, (Handle compiled, size_t signature, size_t index, Handle *)) \
    F(int, GetCompiledModelOutputBufferRequirements, (Handle compiled, size_t signature, size_t index, Handle *)) \
    F(int, GetCompiledModelInputTensorLayout, (Handle compiled, size_t signature, size_t index, struct layout *)) \
    F(int, GetCompiledModelOutputTensorLayouts,                                                                \
      (Handle compiled, size_t signature, size_t count, struct layout *, _Bool update))                        \
    F(int, CreateManagedTensorBufferFromRequirements,                                                          \
      (Handle environment, const struct tensor_type *, Handle requirements, Handle *buffer))                   \
    F(int, GetTensorBufferPackedSize, (Handle buffer, size_t *bytes))                                          \
    F(int, LockTensorBuffer, (Handle buffer, void **memory, int mode))                                         \
    F(int, UnlockTensorBuffer, (Handle buffer))                                                                \
    F(int, RunCompiledModel,                                                                                   \
      (Handle compiled, size_t signature, size_t inputs, Handle *, size_t outputs, Handle *))

struct litert {
#define FIELD(result, name, arguments) result (*name) arguments;
    LITERT_FUNCTIONS(FIELD)
#undef FIELD
};

/* The name of the first function that the library lacks, or NULL when all are there. */
static inline const char *litert_find(void *library, struct litert *api)
{
    void *found;
#define FIND(result, name, arguments)                  \
    found = dlsym(library, "LiteRt" #name);            \
    if (found == NULL)                                 \
        return "LiteRt" #name;                         \
    memcpy(&api->name, &found, sizeof found);
    LITERT_FUNCTIONS(FIND)
#undef FIND
    return NULL;
}

#endif
