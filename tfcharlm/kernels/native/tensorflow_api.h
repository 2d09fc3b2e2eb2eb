/* The functions of TensorFlow's C API that the operations call, found in the library that is loaded already.

   They are declared by hand and looked up by name, so that neither building nor loading needs TensorFlow's headers, a
   link to a file of it, or its symbols to be visible to the whole process. */
#ifndef TFCHARLM_TENSORFLOW_API_H
#define TFCHARLM_TENSORFLOW_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct TF_Tensor TF_Tensor;
typedef struct TF_Status TF_Status;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;

/* From tensorflow/c/tf_datatype.h and tf_status.h. */
enum { TF_FLOAT = 1, TF_INT32 = 3 };
enum { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };

/* X(result, name, arguments) */
#define TENSORFLOW_FUNCTIONS(X) \
  X(TF_Status *, TF_NewStatus, (void)) \
  X(void, TF_DeleteStatus, (TF_Status *)) \
  X(void, TF_SetStatus, (TF_Status *, int, const char *)) \
  X(int, TF_GetCode, (const TF_Status *)) \
  X(TF_Tensor *, TF_NewTensor, (int, const int64_t *, int, void *, size_t, void (*)(void *, size_t, void *), void *)) \
  X(void, TF_DeleteTensor, (TF_Tensor *)) \
  X(void *, TF_TensorData, (const TF_Tensor *)) \
  X(int, TF_TensorType, (const TF_Tensor *)) \
  X(int, TF_NumDims, (const TF_Tensor *)) \
  X(int64_t, TF_Dim, (const TF_Tensor *, int)) \
  X(TF_OpDefinitionBuilder *, TF_NewOpDefinitionBuilder, (const char *)) \
  X(void, TF_OpDefinitionBuilderAddAttr, (TF_OpDefinitionBuilder *, const char *)) \
  X(void, TF_OpDefinitionBuilderAddInput, (TF_OpDefinitionBuilder *, const char *)) \
  X(void, TF_OpDefinitionBuilderAddOutput, (TF_OpDefinitionBuilder *, const char *)) \
  X(void, TF_OpDefinitionBuilderSetShapeInferenceFunction, \
    (TF_OpDefinitionBuilder *, void (*)(TF_ShapeInferenceContext *, TF_Status *))) \
  X(void, TF_ShapeInferenceContextSetUnknownShape, (TF_ShapeInferenceContext *, TF_Status *)) \
  X(void, TF_RegisterOpDefinition, (TF_OpDefinitionBuilder *, TF_Status *)) \
  X(TF_KernelBuilder *, TF_NewKernelBuilder, \
    (const char *, const char *, void *(*)(TF_OpKernelConstruction *), void (*)(void *, TF_OpKernelContext *), \
     void (*)(void *))) \
  X(void, TF_RegisterKernelBuilder, (const char *, TF_KernelBuilder *, TF_Status *)) \
  X(void, TF_OpKernelConstruction_GetAttrBool, (TF_OpKernelConstruction *, const char *, unsigned char *, TF_Status *)) \
  X(void, TF_OpKernelConstruction_GetAttrInt32, (TF_OpKernelConstruction *, const char *, int32_t *, TF_Status *)) \
  X(void, TF_OpKernelConstruction_Failure, (TF_OpKernelConstruction *, TF_Status *)) \
  X(void, TF_GetInput, (TF_OpKernelContext *, int, TF_Tensor **, TF_Status *)) \
  X(TF_Tensor *, TF_AllocateOutput, \
    (TF_OpKernelContext *, int, int, const int64_t *, int, size_t, TF_Status *)) \
  X(void, TF_SetOutput, (TF_OpKernelContext *, int, const TF_Tensor *, TF_Status *)) \
  X(void, TF_OpKernelContext_Failure, (TF_OpKernelContext *, TF_Status *))

struct tensorflow {
#define DECLARE(result, name, arguments) result(*name) arguments;
  TENSORFLOW_FUNCTIONS(DECLARE)
#undef DECLARE
};

extern struct tensorflow tensorflow;

/* NULL, or what is missing. */
const char *find_tensorflow(void);

#endif
