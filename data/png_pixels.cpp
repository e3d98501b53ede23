#include "data/png_pixels.h"

#include <libdeflate.h>

#include <cstring>
#include <memory>
#include <new>

#include "data/image_format.h"
#include "data/png_filters.h"

namespace fulmar::data {

namespace {

constexpr size_t signature_bytes = 8;

struct Chunk {
  Bytes whole;  // length, type, body, checksum

  Bytes body() const { return whole.subspan(8, whole.size() - 12); }
  bool is(const char* type) const { return !std::memcmp(whole.data() + 4, type, 4); }
  bool right_checksum() const {
    return libdeflate_crc32(0, whole.data() + 4, whole.size() - 8) ==
           big_endian(whole, whole.size() - 4, 4);
  }
};

// The chunk that begins at `at`; nothing where the file ends within it.
std::optional<Chunk> chunk_at(Bytes file, size_t at) {
  if (at > file.size() || file.size() - at < 12) return std::nullopt;
  const size_t length = big_endian(file, at, 4);
  if (length > file.size() - at - 12) return std::nullopt;
  return Chunk{file.subspan(at, length + 12)};
}

// The pixels' compressed data, which lie in one run of chunks. The header's checksum is looked at
// too: with_one_pixel() writes it anew.
class Compressed {
 public:
  // false: out of order, or a wrong checksum.
  bool find(Bytes file) {
    bool behind = false;  // the run
    for (size_t at = signature_bytes;;) {
      const std::optional<Chunk> chunk = chunk_at(file, at);
      if (!chunk) return false;
      at += chunk->whole.size();
      if (chunk->is("IEND")) return bytes_ > 0 && chunk->body().empty() && chunk->right_checksum();
      if (chunk->is("IHDR") && !chunk->right_checksum()) return false;
      if (!chunk->is("IDAT")) {
        behind = !parts_.empty();
        continue;
      }
      if (behind || !chunk->right_checksum()) return false;
      parts_.push_back(chunk->body());
      bytes_ += chunk->body().size();
    }
  }

  size_t bytes() const { return bytes_; }
  // Copied together where they lie apart.
  Bytes together() {
    if (parts_.size() == 1) return parts_[0];
    joined_.reserve(bytes_);
    for (const Bytes part : parts_) joined_.insert(joined_.end(), part.begin(), part.end());
    return joined_;
  }

 private:
  std::vector<Bytes> parts_;
  size_t bytes_ = 0;
  std::vector<uint8_t> joined_;
};

struct Free {
  void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
};

// Whether a zlib stream is whole and right, unpacks to just `count` bytes, and nothing follows.
bool inflate(Bytes stream, uint8_t* to, size_t count) {
  const std::unique_ptr<libdeflate_decompressor, Free> inflater(libdeflate_alloc_decompressor());
  if (!inflater) throw std::bad_alloc();
  size_t read = 0;
  return libdeflate_zlib_decompress_ex(inflater.get(), stream.data(), stream.size(), to, count,
                                       &read, nullptr) == LIBDEFLATE_SUCCESS &&
         read == stream.size();
}

// From big endian to the machine's own order.
void to_native_16(std::vector<uint8_t>& data) {
  for (size_t at = 0; at + 1 < data.size(); at += 2) {
    const auto value = static_cast<uint16_t>(data[at] << 8 | data[at + 1]);
    std::memcpy(data.data() + at, &value, 2);
  }
}

void append(std::string& text, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
}

void append_chunk(std::string& file, const std::string& type_and_body) {
  append(file, static_cast<uint32_t>(type_and_body.size() - 4));
  file += type_and_body;
  append(file, libdeflate_crc32(0, type_and_body.data(), type_and_body.size()));
}

std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::optional<std::vector<uint8_t>> read_png_pixels(Bytes file, const PngPixels& pixels) {
  Compressed compressed;
  if (!compressed.find(file)) return std::nullopt;
  const auto bytes = static_cast<size_t>(pixels.height * (pixels.row_bytes() + 1));
  // deflate packs at most 1032 bytes into one: memory is asked for where a file can fill it.
  if (bytes / 1032 > compressed.bytes()) return std::nullopt;
  std::vector<uint8_t> data(bytes + 8);  // of which undo_png_filters() knows
  if (!inflate(compressed.together(), data.data(), bytes) ||
      !undo_png_filters(data.data(), pixels.height, pixels.row_bytes(), pixels.pixel_bytes()))
    return std::nullopt;
  data.resize(static_cast<size_t>(pixels.height * pixels.row_bytes()));
  if (pixels.bits == 16) to_native_16(data);
  return data;
}

std::string with_one_pixel(Bytes file, const PngPixels& pixels) {
  std::string result = text_of(file.first(signature_bytes));
  bool pixel_written = false;
  for (size_t at = signature_bytes;;) {
    const Chunk chunk = chunk_at(file, at).value();
    at += chunk.whole.size();
    if (at == signature_bytes + chunk.whole.size()) {  // IHDR
      std::string header = "IHDR";
      append(header, 1);
      append(header, 1);
      append_chunk(result, header + text_of(chunk.body().subspan(8)));
    } else if (!chunk.is("IDAT")) {
      result += text_of(chunk.whole);
    } else if (!pixel_written) {
      // A zlib stream of one stored block: no filter, and zeros.
      const auto zeros = static_cast<uint32_t>(1 + pixels.pixel_bytes());
      std::string body = "IDAT\x78\x01\x01";
      for (const uint32_t word : {zeros, ~zeros}) {
        body += static_cast<char>(word);
        body += static_cast<char>(word >> 8);
      }
      body += std::string(zeros, '\0');
      append(body, zeros << 16 | 1);  // Adler-32
      append_chunk(result, body);
      pixel_written = true;
    }
    if (chunk.is("IEND")) return result;
  }
}

}  // namespace fulmar::data
