#include "data/stb.h"

#include <climits>
#include <cstdlib>
#include <memory>

// stb_image's only implementation. Its memory starts as zeros: what a damaged file leaves out would
// otherwise be whatever lay there.
#define STBI_MALLOC(bytes) std::calloc(1, bytes)
#define STBI_REALLOC(memory, bytes) std::realloc(memory, bytes)
#define STBI_FREE(memory) std::free(memory)
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ONLY_BMP
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace fulmar::data {

namespace {

struct Free {
  void operator()(stbi_uc* memory) const { stbi_image_free(memory); }
};

}  // namespace

Image stb_decode(Bytes file, const std::string& name, const char* format,
                 const ImageHeader& header) {
  if (file.size() > INT_MAX) unsupported(name, std::string(format) + " of more than 2 GiB");
  int width = 0, height = 0, stored = 0;
  const std::unique_ptr<stbi_uc, Free> pixels(
      stbi_load_from_memory(file.data(), static_cast<int>(file.size()), &width, &height, &stored,
                            static_cast<int>(header.bands)));
  if (!pixels) damaged(name, std::string(format) + ": " + stbi_failure_reason());
  if (width != header.width || height != header.height)
    damaged(name, std::string(format) + ": it has two headers that differ");
  Image image;
  static_cast<ImageHeader&>(image) = header;
  image.data.assign(pixels.get(), pixels.get() + header.bytes());
  return image;
}

}  // namespace fulmar::data
