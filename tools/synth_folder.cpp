#include "tools/synth_folder.h"

#include <algorithm>
#include <filesystem>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "tools/console.h"
#include "tools/run/memory.h"

namespace fulmar::tools {

namespace fs = std::filesystem;

uint64_t scene_seed(uint64_t seed, int64_t number) {
  const RandomBits bits = philox(seed, 0x53594e5448ull, static_cast<uint64_t>(number));  // "SYNTH"
  return uint64_t{bits.word[0]} << 32 | bits.word[1];
}

// A scene of an earlier run with the same options is kept; others' files are not touched.
void prepare_folder(const std::string& folder, const Json& options) {
  const std::string record = folder + "/synth.json";
  std::error_code error;
  if (fs::exists(record, error)) {
    const Json before = Json::parse(read_file(record, 1 << 20), nullptr, false);
    if (before == options) {
      note("going on with " + folder + ": scenes that are there are kept");
      return;
    }
    file_error(folder + ": holds scenes made with other options (synth.json); name another folder");
  }
  if (fs::exists(folder, error) &&
      (!fs::is_directory(folder, error) || !fs::is_empty(folder, error)))
    file_error(folder + ": holds something else; name a new or empty folder");
  fs::create_directories(folder, error);
  if (error) file_error(folder + ": can't be made: " + error.message() + "; name another folder");
  write_file(record, options.dump(2) + "\n");
}

// As many scenes at a time as half of the memory holds: one takes some 80 bytes a pixel.
int threads_within(double bytes, int64_t size, int asked) {
  require_memory(2 * bytes,
                 "a scene of " + std::to_string(size) + " x " + std::to_string(size) + " pixels",
                 "make smaller ones (--size)");
  return std::max(
      1, std::min(asked, static_cast<int>(static_cast<double>(memory_here()) / 2 / bytes)));
}

}  // namespace fulmar::tools
