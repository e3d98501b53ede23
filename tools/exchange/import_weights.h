#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "tools/exchange/weight_file.h"
#include "tools/keras/imported_model.h"

namespace fulmar::exchange {

struct ImportOptions {
  std::string network;          // "resnet18", …
  std::vector<int64_t> widths;  // of its stages; empty: its own
  // Of pictures; none: as the file's first convolution has it. 1 where that has more: its weights
  // are summed, which is what the network gives for a picture repeated in all its bands.
  std::optional<int64_t> bands;
  std::vector<std::string> classes;     // none: "0", "1", …
  std::optional<std::string> positive;  // of two classes; none: pos or positive, else the second
  double threshold = 0.5;
  int64_t size = 224, crop = 224;  // pixels
  Interpolation resize = Interpolation::bilinear;
  // By band, or one for all: the network sees (v - mean) / deviation of v = 0 to 1.
  std::vector<double> mean{0}, deviation{1};
  // Weights that the file lacks begin anew, by `seed`; what the network has no place for is left
  // out. Else both are errors.
  bool partial = false;
  uint64_t seed = 0;
};

struct Imported : keras::ImportedModel {
  std::string format;  // of the file
};

// Reads a file of weights into a network that Fulmar knows, with torchvision's names or Hugging
// Face's, and writes a model file, whole or not at all. Without a last layer in the file the model
// gives features and has no classes. Error(file) naming the file, and every weight that is missing,
// has another shape or belongs nowhere; Error(usage) for options that don't fit.
Imported import_weights(const std::string& from, const std::string& to,
                        const ImportOptions& options, Device& device);

}  // namespace fulmar::exchange
