#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/image.h"
#include "engine/io/checkpoint.h"
#include "model/tasks/classification.h"

// Choices that training, evaluation and prediction share.
namespace fulmar::tools {

// The threshold asked for, or with -1 the model's. Error(usage): one is given and the model has
// more than two classes.
double threshold_of(const model::Classification& task, double asked);

// Pictures that go through a network together where nobody says how many: some 4 million pixels.
int64_t customary_batch(const Preprocess& preprocess);

// The band files of the option, else those of the model's pictures. Error(usage) as BandFiles.
data::BandFiles band_files_of(const std::optional<std::string>& asked,
                              const Preprocess& preprocess);

// Mean and sample standard deviation; NaN where they are undefined: of no value, and of one.
struct Spread {
  double mean = 0, deviation = 0;
};
Spread spread_of(const std::vector<double>& values);

// Of pictures that have transparency, as Pillow's convert("RGB") does.
inline constexpr const char* alpha_note = "transparency of some pictures is left out";

// What pictures may be: --max-pixels, and no more than the memory that is left.
data::ImageLimits image_limits(int64_t max_pixels);

// Cells with commas between and a line end, quoted where needed (RFC 4180).
std::string csv_row(const std::vector<std::string>& cells);

// The last name of a path, also of one that ends in "/".
std::string last_part(const std::string& path);

// CRC-32C of a whole file as eight hexadecimal digits.
std::string crc32c_of_file(const std::string& path);

}  // namespace fulmar::tools
