// Decoding of PNG files, ours beside libspng's on zlib, in turns on one thread.
#include <spng.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace {

struct Free {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};

// Processor time of this thread: others on the machine count for less than in the clock's time.
double ms_now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Pixels as the file stores them, checksums compared, as data/decode_png.cpp has libspng do it.
std::vector<uint8_t> by_libspng(const std::string& file) {
  const std::unique_ptr<spng_ctx, Free> context(spng_ctx_new(0));
  spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_ERROR);
  spng_set_png_buffer(context.get(), file.data(), file.size());
  size_t bytes = 0;
  int failed = spng_decoded_image_size(context.get(), SPNG_FMT_PNG, &bytes);
  std::vector<uint8_t> pixels(bytes);
  if (!failed) failed = spng_decode_image(context.get(), pixels.data(), bytes, SPNG_FMT_PNG, 0);
  if (failed) fulmar::file_error(spng_strerror(failed));
  return pixels;
}

int run(const std::vector<std::string>& paths, int rounds) {
  std::vector<double> ours, theirs, ratios;
  for (const std::string& path : paths) {
    const std::string file = fulmar::read_file(path, size_t{1} << 30);
    for (int round = 0; round <= rounds; round++) {
      const double start = ms_now();
      const fulmar::data::Image image = fulmar::data::decode_image(
          {reinterpret_cast<const uint8_t*>(file.data()), file.size()}, path);
      const double middle = ms_now();
      const std::vector<uint8_t> pixels = by_libspng(file);
      const double end = ms_now();
      if (!image.dropped_alpha && image.data != pixels)
        fulmar::file_error(path + ": the pixels differ");
      if (round == 0) continue;  // memory is asked for the first time
      ours.push_back(middle - start);
      theirs.push_back(end - middle);
      ratios.push_back((middle - start) / (end - middle));
    }
  }
  std::printf("%zu files, %d rounds: ours %.2f ms, libspng %.2f ms, ratio %.3f (%.3f to %.3f)\n",
              paths.size(), rounds, median(ours), median(theirs), median(ratios),
              *std::min_element(ratios.begin(), ratios.end()),
              *std::max_element(ratios.begin(), ratios.end()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_decode FILE.png...\n");
    return 2;
  }
  try {
    return run({argv + 1, argv + argc}, 5);
  } catch (const fulmar::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}
