// These need each other in this order.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <array>
#include <csetjmp>

#include "data/jpeg_structure.h"

namespace fulmar::data {

namespace {

bool matches(Bytes start) {
  return start.size() >= 3 && start[0] == 0xff && start[1] == 0xd8 && start[2] == 0xff;
}

bool probe(Bytes start, bool whole, const std::string& name, ImageHeader& header) {
  return JpegStructure(start, name).read_header(whole, header);
}

struct Errors {
  jpeg_error_mgr manager;  // first: libjpeg has a pointer to it, which is made one to this again
  std::jmp_buf leave;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message.data());
  std::longjmp(errors->leave, 1);
}

// A warning means that bytes were made up for what is missing or wrong; but not these.
void warn(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM) leave(info);
}

// Into `pixels`, which has room for the header's extents. False, with a message: it can't be
// decoded. Nothing here has a destructor, which longjmp would pass by.
bool decode_into(Bytes file, const ImageHeader& header, uint8_t* pixels, Errors& errors) {
  jpeg_decompress_struct info;
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = leave;
  errors.manager.emit_message = warn;
  if (setjmp(errors.leave)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, file.data(), file.size());
  jpeg_read_header(&info, TRUE);
  info.out_color_space = header.bands == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&info);
  const auto row_bytes = static_cast<size_t>(header.width * header.bands);
  const bool fits = info.output_height == header.height && info.output_width == header.width &&
                    info.output_components == header.bands;
  if (!fits) ERREXIT(&info, JERR_BAD_LENGTH);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels + info.output_scanline * row_bytes;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

Image decode(Bytes file, const std::string& name, const ImageHeader& header) {
  JpegStructure(file, name).check();
  Image image;
  static_cast<ImageHeader&>(image) = header;
  image.data.resize(static_cast<size_t>(image.bytes()));
  Errors errors{};
  if (!decode_into(file, header, image.data.data(), errors))
    damaged(name, std::string("JPEG: ") + errors.message.data());
  return image;
}

}  // namespace

extern const ImageFormat jpeg_format{"JPEG", ".jpg .jpeg .jpe", matches, probe_start<probe>,
                                     decode_whole<decode>};

}  // namespace fulmar::data
