#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "engine/io/checkpoint.h"
#include "model/tasks/classification.h"
#include "tools/cli.h"

// Helpers of predict, eval and info.
namespace fulmar::tools {

// The threshold asked for, or with -1 the model's. Error(usage): one is given and the model has
// more than two classes.
double threshold_of(const model::Classification& task, double asked);

// Pictures that go through a network together where nobody says how many: some 4 million pixels.
int64_t customary_batch(const Preprocess& preprocess);

// --bands: how files make up samples; `otherwise` says what is so without it.
CLI::Option* add_bands(CLI::App& app, std::optional<std::string>& value,
                       const std::string& otherwise);
// --scenes: which pictures belong together.
CLI::Option* add_scenes(CLI::App& app, std::string& value);
// The band files of the option, else those of the model's pictures. Error(usage) as BandFiles.
data::BandFiles band_files_of(const std::optional<std::string>& asked,
                              const Preprocess& preprocess);

// Says, once, that transparency is left out, as Pillow's convert("RGB") does.
class AlphaNote {
 public:
  void say_if(bool dropped);

 private:
  bool said_ = false;
};

// What pictures may be: --max-pixels, and no more than the memory that is left.
data::ImageLimits image_limits(int64_t max_pixels);

// --max-pixels
CLI::Option* add_max_pixels(CLI::App& app, int64_t& value);

// A number that a float32 holds, as the shortest decimal that names that float: 0.1, not
// 0.10000000149011612. Others stay as they are.
double shortest(double value);
// The same as text, in any locale: "nan", "inf" and "-inf" too.
std::string number_text(double value);

// Cells with commas between and a line end, quoted where needed (RFC 4180).
std::string csv_row(const std::vector<std::string>& cells);

// The last name of a path, also of one that ends in "/".
std::string last_part(const std::string& path);

// CRC-32C of a whole file as eight hexadecimal digits.
std::string crc32c_of_file(const std::string& path);

}  // namespace fulmar::tools
