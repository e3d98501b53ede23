// Loads a model and says what it thinks of one picture, which lies in an array.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "engine/context.h"
#include "kernels/error.h"
#include "model/classifier.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: predict MODEL\n");
    return 2;
  }
  try {
    fulmar::Context context;
    fulmar::model::Classifier classifier(context, argv[1]);
    const auto& classes = classifier.task().classes;

    const int64_t side = classifier.preprocess().crop, bands = classifier.preprocess().bands;
    std::vector<uint8_t> pixels(static_cast<size_t>(side * side * bands));
    for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * i % 251);

    const auto outputs = classifier.predict(
        fulmar::view_of(pixels.data(), {1, side, side, bands}, fulmar::DType::u8));
    for (size_t k = 0; k < classes.size(); k++)
      std::printf("%s %.6f\n", classes[k].c_str(), outputs.probabilities[k]);
  } catch (const fulmar::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
