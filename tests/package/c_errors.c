/* c_errors MODEL: what goes wrong gives a status and a message, whoever calls. C99 and POSIX. */
#define _POSIX_C_SOURCE 200809L
#include <fulmar/fulmar.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int bad;

static void expect(const char* what, fulmar_status status, fulmar_status wanted, const char* part) {
  const char* message = fulmar_last_error();
  if (status == wanted && strstr(message, part)) return;
  fprintf(stderr, "%s: status %d, wanted %d with '%s'; the message: %s\n", what, (int)status,
          (int)wanted, part, message);
  bad = 1;
}

static fulmar_model* model;

static void* second_thread(void* argument) {
  fulmar_session* session;
  fulmar_tensor picture = {argument, FULMAR_U8, 4, {1, 32, 32, 3}, {0}};
  float numbers[2];
  fulmar_tensor output = {numbers, FULMAR_F32, 2, {1, 2}, {0}};
  expect("a thread without a failure", FULMAR_OK, FULMAR_OK, "");
  if (*fulmar_last_error()) bad = 1;
  expect("a session of a second thread", fulmar_session_create(model, 1, &session), 0, "");
  expect("a run of a second thread", fulmar_session_run(session, &picture, 1, &output, 1), 0, "");
  picture.extents[3] = 4;
  expect("a wrong shape", fulmar_session_run(session, &picture, 1, &output, 1), FULMAR_USAGE,
         "[1,32,32,4] u8 given");
  fulmar_session_free(session);
  return NULL;
}

/* Leaves the process about 64 MB more than it has. */
static void limit_memory(void) {
  unsigned long pages = 0;
  FILE* statm = fopen("/proc/self/statm", "r");
  if (!statm || fscanf(statm, "%lu", &pages) != 1) exit(1);
  fclose(statm);
  struct rlimit limit;
  limit.rlim_cur = limit.rlim_max = pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)64 << 20);
  if (setrlimit(RLIMIT_AS, &limit)) exit(1);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  expect("a file that is not there", fulmar_model_load("absent.safetensors", NULL, &model),
         FULMAR_FILE, "absent.safetensors");
  expect("a file that is none", fulmar_model_load("/dev/null", NULL, &model), FULMAR_FILE,
         "/dev/null");
  if (model) return 1;
  expect("a model", fulmar_model_load(argv[1], NULL, &model), FULMAR_OK, "");

  static unsigned char pixels[32 * 32 * 4];
  pthread_t thread;
  if (pthread_create(&thread, NULL, second_thread, pixels) || pthread_join(thread, NULL)) return 1;

  const long images = 65536;
  fulmar_session* session;
  fulmar_tensor many = {calloc((size_t)images, 32 * 32 * 3), FULMAR_U8, 4, {65536, 32, 32, 3}, {0}};
  fulmar_tensor one = {pixels, FULMAR_U8, 4, {1, 32, 32, 3}, {0}};
  float* numbers = malloc((size_t)images * 2 * sizeof(float));
  fulmar_tensor to_many = {numbers, FULMAR_F32, 2, {65536, 2}, {0}};
  fulmar_tensor to_one = {numbers, FULMAR_F32, 2, {1, 2}, {0}};
  expect("a session", fulmar_session_create(model, 1, &session), FULMAR_OK, "");
  limit_memory();
  expect("no memory", fulmar_session_run(session, &many, 1, &to_many, 1), FULMAR_DEVICE,
         "out of memory");
  if (!bad) printf("%s\n", fulmar_last_error());
  expect("a run after that", fulmar_session_run(session, &one, 1, &to_one, 1), FULMAR_OK, "");
  expect("too large to be",
         (many.extents[1] = many.extents[2] = INT64_MAX / 2,
          fulmar_session_run(session, &many, 1, &to_many, 1)),
         FULMAR_USAGE, "too large");
  fulmar_session_free(session);
  fulmar_model_free(model);
  free(many.data);
  free(numbers);
  return bad;
}
