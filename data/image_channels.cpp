#include "data/image.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

// Pillow's convert("L"): ITU-R 601-2 luma in 16-bit fixed point, rounded.
template <class T>
T luma(T red, T green, T blue) {
  if constexpr (std::is_floating_point_v<T>)
    return 0.299f * red + 0.587f * green + 0.114f * blue;
  else
    return static_cast<T>(
        (uint64_t{red} * 19595 + uint64_t{green} * 38470 + uint64_t{blue} * 7471 + 0x8000) >> 16);
}

// A grey pixel is nodata where a colour of its was, and only there.
template <class T>
void keep_nodata(const T* colours, T* grey, int64_t pixels, T nodata) {
  for (int64_t i = 0; i < pixels; i++) {
    const T* colour = colours + 3 * i;
    if (colour[0] == nodata || colour[1] == nodata || colour[2] == nodata)
      grey[i] = nodata;
    else if (grey[i] == nodata)
      grey[i] = nodata > 0 ? nodata - 1 : 1;
  }
}

template <class T>
void convert(const Image& from, Image& to) {
  const T* in = reinterpret_cast<const T*>(from.data.data());
  T* out = reinterpret_cast<T*>(to.data.data());
  if (to.bands == 1)
    for (int64_t i = 0; i < to.pixels(); i++)
      out[i] = luma(in[3 * i], in[3 * i + 1], in[3 * i + 2]);
  if (to.bands == 1 && to.nodata) keep_nodata(in, out, to.pixels(), static_cast<T>(*to.nodata));
  if (to.bands == 3)
    for (int64_t i = 0; i < to.pixels(); i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
}

}  // namespace

bool can_have_channels(const ImageHeader& header, int64_t channels) {
  const auto is_picture = [](int64_t count) { return count == 1 || count == 3; };
  return header.bands == channels || (is_picture(header.bands) && is_picture(channels));
}

Image with_channels(Image image, int64_t channels) {
  if (image.bands == channels) return image;
  if (!can_have_channels(image, channels))
    usage_error("a picture of " + std::to_string(image.bands) + " bands can't be made one of " +
                std::to_string(channels) + "; only grey and RGB turn into each other");
  Image result = image;
  result.bands = channels;
  result.data.assign(static_cast<size_t>(result.bytes()), 0);
  switch (image.type) {
    case DType::u8:
      convert<uint8_t>(image, result);
      break;
    case DType::u16:
      convert<uint16_t>(image, result);
      break;
    case DType::f32:
      convert<float>(image, result);
      break;
    default:
      usage_error(std::string("pictures of type ") + name_of(image.type) + " don't exist");
  }
  return result;
}

}  // namespace fulmar::data
