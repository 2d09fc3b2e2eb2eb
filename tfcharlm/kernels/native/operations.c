/* The two passes as operations of TensorFlow: TfcharlmRecurrence and TfcharlmRecurrenceGradient. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "recurrence.h"
#include "tensorflow_api.h"

#define VISIBLE __attribute__((visibility("default")))

/* What was missing when the library was loaded, for Python; empty if nothing was. */
VISIBLE char tfcharlm_problem[256] = "nothing was registered";
/* The kind of vectors that the operations use. */
VISIBLE char tfcharlm_vectors[32] = "";

static const struct variant *variant;

struct attributes {
  int32_t cell;
  unsigned char saves; /* whether the forward pass keeps what the backward pass needs */
};

/* The arguments of one call. The first thing that fails ends it. */
enum { MOST_TENSORS = 12 + 3 * MOST_STATES };

struct call {
  TF_OpKernelContext *context;
  TF_Status *status;
  TF_Tensor *tensors[MOST_TENSORS];
  int count;
  int failed;
};

static void fail(struct call *call, int code, const char *format, ...) {
  char line[300];
  va_list arguments;
  if (call->failed) return;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  tensorflow.TF_SetStatus(call->status, code, line);
  tensorflow.TF_OpKernelContext_Failure(call->context, call->status);
  call->failed = 1;
}

static void begin_call(struct call *call, TF_OpKernelContext *context) {
  memset(call, 0, sizeof *call);
  call->context = context;
  call->status = tensorflow.TF_NewStatus();
}

static void end_call(struct call *call) {
  for (int i = 0; i < call->count; i++) tensorflow.TF_DeleteTensor(call->tensors[i]);
  tensorflow.TF_DeleteStatus(call->status);
}

static void check_status(struct call *call) {
  if (call->failed || tensorflow.TF_GetCode(call->status) == TF_OK) return;
  tensorflow.TF_OpKernelContext_Failure(call->context, call->status);
  call->failed = 1;
}

static TF_Tensor *input(struct call *call, int index) {
  TF_Tensor *tensor = NULL;
  if (call->failed) return NULL;
  tensorflow.TF_GetInput(call->context, index, &tensor, call->status);
  check_status(call);
  if (tensor) call->tensors[call->count++] = tensor;
  return call->failed ? NULL : tensor;
}

/* Whether it stands for an argument that is not there: `rank` axes, each of size 0. */
static int is_nothing(const TF_Tensor *tensor, int rank) {
  if (tensorflow.TF_NumDims(tensor) != rank) return 0;
  for (int i = 0; i < rank; i++)
    if (tensorflow.TF_Dim(tensor, i)) return 0;
  return 1;
}

/* "(3, 4)" */
static const char *shape_text(char *text, size_t length, int rank, const int64_t *shape) {
  size_t used = snprintf(text, length, "(");
  for (int i = 0; i < rank && used < length; i++)
    used += snprintf(text + used, length - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
  if (used < length) snprintf(text + used, length - used, ")");
  return text;
}

/* The numbers of an input that must have this shape; -1 stands for any size. */
static void *checked(struct call *call, TF_Tensor *tensor, const char *name, int rank, const int64_t *shape) {
  if (call->failed) return NULL;
  int64_t found[8];
  int dimensions = tensorflow.TF_NumDims(tensor), fits = dimensions == rank;
  for (int i = 0; i < dimensions && i < 8; i++) {
    found[i] = tensorflow.TF_Dim(tensor, i);
    if (i < rank && shape[i] >= 0 && shape[i] != found[i]) fits = 0;
  }
  if (!fits) {
    char expected[96], received[96];
    fail(call, TF_INVALID_ARGUMENT, "%s must have the shape %s, where -1 is any size; received %s", name,
         shape_text(expected, sizeof expected, rank, shape),
         shape_text(received, sizeof received, dimensions < 8 ? dimensions : 8, found));
    return NULL;
  }
  return tensorflow.TF_TensorData(tensor);
}

#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

static void give_tensor(void *data, size_t size, void *nothing) {
  (void)size, (void)nothing;
  give_memory(data);
}

/* An output. Large ones are in kept memory. */
static float *output(struct call *call, int index, int rank, const int64_t *shape) {
  if (call->failed) return NULL;
  size_t bytes = sizeof(float);
  int too_large = 0;
  for (int i = 0; i < rank; i++) too_large |= __builtin_mul_overflow(bytes, (size_t)shape[i], &bytes);
  if (too_large) {
    char received[96];
    fail(call, TF_INVALID_ARGUMENT, "output %d would have the shape %s, more numbers than there can be", index,
         shape_text(received, sizeof received, rank, shape));
    return NULL;
  }
  TF_Tensor *tensor;
  if (bytes < 4096) {
    tensor = tensorflow.TF_AllocateOutput(call->context, index, TF_FLOAT, shape, rank, bytes, call->status);
    check_status(call);
  } else {
    void *data = take_bytes(bytes);
    tensor = data ? tensorflow.TF_NewTensor(TF_FLOAT, shape, rank, data, bytes, give_tensor, NULL) : NULL;
    if (!tensor) fail(call, TF_RESOURCE_EXHAUSTED, "no memory for %zu bytes of output %d", bytes, index);
    else tensorflow.TF_SetOutput(call->context, index, tensor, call->status);
    check_status(call);
  }
  if (tensor) call->tensors[call->count++] = tensor;
  return call->failed ? NULL : tensorflow.TF_TensorData(tensor);
}

/* The arguments that both passes have, with the states from input `states_from` on. */
static void read_sequence(struct call *call, const struct attributes *attributes, int states_from, struct sequence *s) {
  static const char *const state_names[MOST_STATES] = {"the initial h", "the initial c"};
  memset(s, 0, sizeof *s);
  s->cell = (enum cell)attributes->cell;
  TF_Tensor *kernel = input(call, 0), *recurrent_kernel = input(call, 1), *bias = input(call, 2);
  TF_Tensor *inputs = input(call, 3), *is_real = input(call, 4);
  if (call->failed) return;
  s->recurrent_kernel = checked(call, recurrent_kernel, "the recurrent kernel", SHAPE(-1, -1));
  if (call->failed) return;
  s->units = tensorflow.TF_Dim(recurrent_kernel, 0);
  int64_t columns = block_count(s->cell) * s->units;
  checked(call, recurrent_kernel, "the recurrent kernel", SHAPE(s->units, columns));
  s->kernel = checked(call, kernel, "the kernel", SHAPE(-1, columns));
  if (call->failed) return;
  s->width = tensorflow.TF_Dim(kernel, 0);
  if (!is_nothing(bias, 1)) s->bias = checked(call, bias, "the bias", SHAPE(bias_blocks(s->cell) * s->units));
  if (tensorflow.TF_TensorType(inputs) == TF_INT32) s->ids = checked(call, inputs, "the ids", SHAPE(-1, -1));
  else s->inputs = checked(call, inputs, "the inputs", SHAPE(-1, -1, s->width));
  if (call->failed) return;
  s->batch = tensorflow.TF_Dim(inputs, 0), s->steps = tensorflow.TF_Dim(inputs, 1);
  if (!is_nothing(is_real, 2)) s->is_real = checked(call, is_real, "the mask", SHAPE(s->batch, s->steps));
  for (int i = 0; i < state_count(s->cell); i++) {
    TF_Tensor *state = input(call, states_from + i);
    s->initial_states[i] = checked(call, state, state_names[i], SHAPE(s->batch, s->units));
  }
  for (int64_t i = 0; s->ids && i < s->batch * s->steps && !call->failed; i++)
    if (s->ids[i] < 0 || s->ids[i] >= s->width)
      fail(call, TF_INVALID_ARGUMENT, "an id must be from 0 to %lld; received %d in row %lld, step %lld",
           (long long)s->width - 1, s->ids[i], (long long)(i / s->steps), (long long)(i % s->steps));
}

static void no_memory(struct call *call) { fail(call, TF_RESOURCE_EXHAUSTED, "no memory for a recurrence"); }

static void compute_forward(void *kernel, TF_OpKernelContext *context) {
  const struct attributes *attributes = kernel;
  struct call call;
  struct sequence s;
  struct results to = {0};
  begin_call(&call, context);
  read_sequence(&call, attributes, 5, &s);
  if (!call.failed) {
    int states = state_count(s.cell);
    to.outputs = output(&call, 0, SHAPE(s.batch, s.steps, s.units));
    for (int i = 0; i < states; i++) to.final_states[i] = output(&call, 1 + i, SHAPE(s.batch, s.units));
    float *saved = output(&call, 1 + states, SHAPE(attributes->saves ? variant->saved_size(&s) : 0));
    to.saved = attributes->saves ? saved : NULL;
  }
  if (!call.failed && variant->forward(&s, &to)) no_memory(&call);
  end_call(&call);
}

static void compute_backward(void *kernel, TF_OpKernelContext *context) {
  const struct attributes *attributes = kernel;
  struct call call;
  struct sequence s;
  struct results of = {0};
  struct gradients d = {0};
  begin_call(&call, context);
  read_sequence(&call, attributes, 8, &s);
  if (!call.failed) {
    int states = state_count(s.cell);
    int64_t columns = block_count(s.cell) * s.units;
    of.outputs = checked(&call, input(&call, 5), "the outputs", SHAPE(s.batch, s.steps, s.units));
    of.saved = checked(&call, input(&call, 6), "what was saved", SHAPE(variant->saved_size(&s)));
    d.outputs = checked(&call, input(&call, 7), "the gradient of the outputs", SHAPE(s.batch, s.steps, s.units));
    for (int i = 0; i < states; i++)
      d.final_states[i] =
          checked(&call, input(&call, 8 + states + i), "the gradient of a state", SHAPE(s.batch, s.units));
    d.kernel = output(&call, 0, SHAPE(s.width, columns));
    d.recurrent_kernel = output(&call, 1, SHAPE(s.units, columns));
    d.bias = output(&call, 2, SHAPE(s.bias ? bias_blocks(s.cell) * s.units : 0));
    int vectors = s.inputs != NULL;
    float *d_inputs = output(&call, 3, SHAPE(vectors ? s.batch : 0, vectors ? s.steps : 0, vectors ? s.width : 0));
    if (!s.bias) d.bias = NULL;
    if (vectors) d.inputs = d_inputs;
    for (int i = 0; i < states; i++) d.initial_states[i] = output(&call, 4 + i, SHAPE(s.batch, s.units));
  }
  if (!call.failed && variant->backward(&s, &of, &d)) no_memory(&call);
  end_call(&call);
}

static void *create(TF_OpKernelConstruction *construction, int is_forward) {
  struct attributes *attributes = calloc(1, sizeof *attributes);
  TF_Status *status = tensorflow.TF_NewStatus();
  if (!attributes) tensorflow.TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for a recurrence");
  else tensorflow.TF_OpKernelConstruction_GetAttrInt32(construction, "cell", &attributes->cell, status);
  if (is_forward && tensorflow.TF_GetCode(status) == TF_OK)
    tensorflow.TF_OpKernelConstruction_GetAttrBool(construction, "save_for_backward", &attributes->saves, status);
  if (tensorflow.TF_GetCode(status) == TF_OK && (attributes->cell < 0 || attributes->cell >= CELL_COUNT))
    tensorflow.TF_SetStatus(status, TF_INVALID_ARGUMENT, "cell must be 0 (RNN), 1 (LSTM), 2 (capped LSTM) or 3 (GRU)");
  if (tensorflow.TF_GetCode(status) != TF_OK) tensorflow.TF_OpKernelConstruction_Failure(construction, status);
  tensorflow.TF_DeleteStatus(status);
  return attributes;
}

static void *create_forward(TF_OpKernelConstruction *construction) { return create(construction, 1); }
static void *create_backward(TF_OpKernelConstruction *construction) { return create(construction, 0); }

static void unknown_shapes(TF_ShapeInferenceContext *context, TF_Status *status) {
  tensorflow.TF_ShapeInferenceContextSetUnknownShape(context, status);
}

/* 0, or -1 with `tfcharlm_problem` set. The lists end with NULL. */
static int register_operation(const char *name, const char *const *attributes, const char *const *inputs,
                              const char *const *outputs, void *(*create_kernel)(TF_OpKernelConstruction *),
                              void (*compute)(void *, TF_OpKernelContext *)) {
  TF_Status *status = tensorflow.TF_NewStatus();
  TF_OpDefinitionBuilder *builder = tensorflow.TF_NewOpDefinitionBuilder(name);
  for (; *attributes; attributes++) tensorflow.TF_OpDefinitionBuilderAddAttr(builder, *attributes);
  for (; *inputs; inputs++) tensorflow.TF_OpDefinitionBuilderAddInput(builder, *inputs);
  for (; *outputs; outputs++) tensorflow.TF_OpDefinitionBuilderAddOutput(builder, *outputs);
  tensorflow.TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, unknown_shapes);
  tensorflow.TF_RegisterOpDefinition(builder, status);
  int code = tensorflow.TF_GetCode(status);
  if (code == TF_OK) {
    tensorflow.TF_RegisterKernelBuilder(
        name, tensorflow.TF_NewKernelBuilder(name, "CPU", create_kernel, compute, free), status);
    code = tensorflow.TF_GetCode(status);
  }
  tensorflow.TF_DeleteStatus(status);
  if (code != TF_OK) snprintf(tfcharlm_problem, sizeof tfcharlm_problem, "TensorFlow refused the operation %s", name);
  return code == TF_OK ? 0 : -1;
}

#define LIST(...) (const char *const[]){__VA_ARGS__, NULL}

/* TensorFlow takes the operations that are registered while a library is loaded. */
__attribute__((constructor)) static void register_operations(void) {
  variant = best_variant();
  if (!variant) {
    snprintf(tfcharlm_problem, sizeof tfcharlm_problem, "the processor has neither AVX2 with FMA nor AVX-512");
    return;
  }
  const char *missing = find_tensorflow();
  if (missing) {
    snprintf(tfcharlm_problem, sizeof tfcharlm_problem, "TensorFlow has no function %s in its C API", missing);
    return;
  }
  snprintf(tfcharlm_vectors, sizeof tfcharlm_vectors, "%s", variant->name);
#define SEQUENCE "kernel: float", "recurrent_kernel: float", "bias: float", "inputs: T", "is_real: bool"
  if (register_operation("TfcharlmRecurrence",
                         LIST("T: {float, int32}", "states: int >= 1", "cell: int", "save_for_backward: bool"),
                         LIST(SEQUENCE, "initial_states: states * float"),
                         LIST("outputs: float", "final_states: states * float", "saved: float"), create_forward,
                         compute_forward))
    return;
  if (register_operation("TfcharlmRecurrenceGradient",
                         LIST("T: {float, int32}", "states: int >= 1", "cell: int"),
                         LIST(SEQUENCE, "outputs: float", "saved: float", "d_outputs: float",
                              "initial_states: states * float", "d_final_states: states * float"),
                         LIST("d_kernel: float", "d_recurrent_kernel: float", "d_bias: float", "d_inputs: float",
                              "d_initial_states: states * float"),
                         create_backward, compute_backward))
    return;
  tfcharlm_problem[0] = 0;
}
