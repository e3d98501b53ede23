/* Fulmar from C, or from anything that calls C: a model file applied to arrays in the caller's
 * memory. The one interface that stays as it is: a later version may add functions, and takes none
 * away and changes none while the number in libfulmar's soname stays.
 *
 * A model is read once and never changes; threads share it. A session is one thread's use of it.
 *
 *   fulmar_model* model;
 *   fulmar_session* session;
 *   if (fulmar_model_load("best.safetensors", "cpu", &model) != FULMAR_OK ||
 *       fulmar_session_create(model, 1, &session) != FULMAR_OK)
 *     return complain(fulmar_last_error());
 *   fulmar_tensor picture = {pixels, FULMAR_U8, 4, {1, height, width, 3}, {0}};
 *   fulmar_tensor probabilities = {numbers, FULMAR_F32, 2, {1, 2}, {0}};
 *   fulmar_session_run(session, &picture, 1, &probabilities, 1);
 *
 * No function prints, exits, or lets a C++ exception out. */
#ifndef FULMAR_FULMAR_H
#define FULMAR_FULMAR_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FULMAR_C_API __attribute__((visibility("default")))
#else
#define FULMAR_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a function says of its end: the exit codes of the program `fulmar`. */
typedef int32_t fulmar_status;
enum {
  FULMAR_OK = 0,
  FULMAR_INTERNAL = 1,   /* a fault of the library itself */
  FULMAR_USAGE = 2,      /* arguments, types or extents that don't fit */
  FULMAR_FILE = 3,       /* a file that can't be read or understood */
  FULMAR_DEVICE = 4,     /* a device that is missing or failed, or memory that ran out */
  FULMAR_DIVERGED = 5,   /* a value became NaN or infinite */
  FULMAR_CANCELLED = 130 /* fulmar_session_cancel() was called */
};

typedef int32_t fulmar_type;
enum { FULMAR_F32 = 0, FULMAR_F64 = 1, FULMAR_U8 = 2, FULMAR_U16 = 3, FULMAR_I32 = 4 };

/* A tensor in the caller's memory, channels last: [images, rows, columns, channels]. */
typedef struct fulmar_tensor {
  void* data;
  fulmar_type type;
  int32_t rank; /* 0 to 4: how many of the extents count */
  int64_t extents[4];
  int64_t strides[4]; /* elements, by axis; all 0: the elements lie in order without gaps */
} fulmar_tensor;

typedef struct fulmar_model fulmar_model;
typedef struct fulmar_session fulmar_session;

/* "0.1.0". Any thread, at any time. */
FULMAR_C_API const char* fulmar_version(void);

/* Why the calling thread's latest failed call failed, a sentence in UTF-8; "" where none failed.
 * Valid until the thread's next failed call. Any thread, at any time. */
FULMAR_C_API const char* fulmar_last_error(void);

/* Reads a model file. `device`: "cpu" (also for NULL), "cuda", "cuda:N", or "auto", the first
 * usable GPU, else the CPU. *model is NULL after a failure. FULMAR_FILE names the file and what is
 * wrong with it. Any thread, at any time. */
FULMAR_C_API fulmar_status fulmar_model_load(const char* path, const char* device,
                                             fulmar_model** model);

/* Ends the caller's use of a model (NULL: nothing). Its sessions keep what they need of it and go
 * on. One thread, once; no call on the model itself may be under way. */
FULMAR_C_API void fulmar_model_free(fulmar_model* model);

/* The following functions read a model; threads may call them at once. Texts belong to the model.
 *
 * How many inputs and outputs it has; 0 of NULL. Outputs begin with what the model is for
 * ("probabilities", "classes"); the network's raw outputs follow. */
FULMAR_C_API size_t fulmar_model_input_count(const fulmar_model* model);
FULMAR_C_API size_t fulmar_model_output_count(const fulmar_model* model);

/* Describes one: its name (unless `name` is NULL), and in *tensor its type, rank and extents, -1
 * for any, without data. Pictures [-1,-1,-1,bands] may be of any size that holds the model's crop,
 * and f32 in the same units is taken too. Outputs of type f32 are also written as f64. FULMAR_USAGE
 * where there is none of that number. */
FULMAR_C_API fulmar_status fulmar_model_input(const fulmar_model* model, size_t number,
                                              const char** name, fulmar_tensor* tensor);
FULMAR_C_API fulmar_status fulmar_model_output(const fulmar_model* model, size_t number,
                                               const char** name, fulmar_tensor* tensor);

/* An entry of the file's metadata, or NULL: "classes" (a JSON list), "preprocess", "network",
 * "summary", "threshold", "heads". */
FULMAR_C_API const char* fulmar_model_metadata(const fulmar_model* model, const char* key);

/* Makes a session. Sessions don't wait for each other. threads = 1: all work on the thread that
 * runs it, best for several sessions side by side; 0: as many as the machine gives this process.
 * *session is NULL after a failure. Threads may call it at once for one model. */
FULMAR_C_API fulmar_status fulmar_session_create(const fulmar_model* model, int32_t threads,
                                                 fulmar_session** session);

/* NULL: nothing. One thread, once; no call on the session may be under way. */
FULMAR_C_API void fulmar_session_free(fulmar_session* session);

/* Reads all inputs of the model, in their order, and writes its first `output_count` outputs; one
 * whose data is NULL is left out. Outputs may leave out extents of 1: [N,K] for [N,1,1,K]. The last
 * few combinations of extents stay prepared: the first run with new ones takes longer.
 * FULMAR_USAGE names the tensor that doesn't fit, and nothing was written. FULMAR_CANCELLED or
 * FULMAR_DEVICE: what was written is worth nothing; the session stays usable.
 * One thread at a time: a second one gets FULMAR_USAGE. On a GPU, the thread that made it. */
FULMAR_C_API fulmar_status fulmar_session_run(fulmar_session* session, const fulmar_tensor* inputs,
                                              size_t input_count, const fulmar_tensor* outputs,
                                              size_t output_count);

/* The run under way, or else the next one, ends with FULMAR_CANCELLED; the one after that works
 * again. Any thread or signal handler, until fulmar_session_free(). */
FULMAR_C_API void fulmar_session_cancel(fulmar_session* session);

#ifdef __cplusplus
}
#endif

#endif
