#if defined(__linux__)
#define _GNU_SOURCE
#endif
#include "tensorflow_api.h"

#include <dlfcn.h>
#include <string.h>
#if defined(__linux__)
#include <link.h>
#elif defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

struct tensorflow tensorflow;

#define FRAMEWORK "libtensorflow_framework"

#if defined(__linux__)
static int keep_framework(struct dl_phdr_info *library, size_t size, void *handle) {
  (void)size;
  if (!library->dlpi_name || !strstr(library->dlpi_name, FRAMEWORK)) return 0;
  *(void **)handle = dlopen(library->dlpi_name, RTLD_NOLOAD | RTLD_LAZY);
  return *(void **)handle != NULL;
}
#endif

/* The loaded library that has TensorFlow's C API. */
static void *framework(void) {
  void *handle = NULL;
#if defined(__linux__)
  dl_iterate_phdr(keep_framework, &handle);
#elif defined(__APPLE__)
  for (uint32_t i = 0; i < _dyld_image_count() && !handle; i++)
    if (strstr(_dyld_get_image_name(i), FRAMEWORK)) handle = dlopen(_dyld_get_image_name(i), RTLD_NOLOAD | RTLD_LAZY);
#endif
  return handle ? handle : RTLD_DEFAULT;
}

const char *find_tensorflow(void) {
  void *library = framework();
#define FIND(result, name, arguments) \
  *(void **)&tensorflow.name = dlsym(library, #name); \
  if (!tensorflow.name) return #name;
  TENSORFLOW_FUNCTIONS(FIND)
  return NULL;
}
