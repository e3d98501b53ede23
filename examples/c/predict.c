/* predict MODEL HEIGHT WIDTH: reads a picture's 8-bit pixels (rows, columns, bands) from standard
 * input and prints each output's name and numbers. C99. */
#include <fulmar/fulmar.h>
#include <stdio.h>
#include <stdlib.h>

/* The elements of a tensor, whose free extents (-1) are images: one here. */
static size_t elements(fulmar_tensor* t) {
  size_t count = 1;
  for (int axis = 0; axis < t->rank; axis++) {
    if (t->extents[axis] < 0) t->extents[axis] = 1;
    count *= (size_t)t->extents[axis];
  }
  return count;
}

static int fail(fulmar_status status) {
  fprintf(stderr, "%s\n", fulmar_last_error());
  return status;
}

int main(int argc, char** argv) {
  fulmar_model* model;
  fulmar_session* session;
  fulmar_tensor picture, output;
  const char* name;
  if (argc != 4) return fprintf(stderr, "usage: predict MODEL HEIGHT WIDTH < PIXELS\n"), 2;

  fulmar_status status = fulmar_model_load(argv[1], "cpu", &model);
  if (status) return fail(status);
  if ((status = fulmar_session_create(model, 1, &session))) return fail(status);
  if ((status = fulmar_model_input(model, 0, NULL, &picture))) return fail(status);
  if ((status = fulmar_model_output(model, 0, &name, &output))) return fail(status);

  picture.extents[1] = atoi(argv[2]);
  picture.extents[2] = atoi(argv[3]);
  const size_t pixels = elements(&picture), numbers = elements(&output);
  picture.data = malloc(pixels);
  output.data = malloc(numbers * sizeof(float));
  if (!picture.data || !output.data || fread(picture.data, 1, pixels, stdin) != pixels)
    return fprintf(stderr, "%lu pixels were expected\n", (unsigned long)pixels), 2;
  if ((status = fulmar_session_run(session, &picture, 1, &output, 1))) return fail(status);

  const char* classes = fulmar_model_metadata(model, "classes");
  printf("%s %s:", name, classes ? classes : "");
  for (size_t i = 0; i < numbers; i++) printf(" %.6f", ((float*)output.data)[i]);
  printf("\n");

  free(picture.data);
  free(output.data);
  fulmar_session_free(session);
  fulmar_model_free(model);
  return FULMAR_OK;
}
