#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/bf16.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/streamed.h"
#include "kernels/error.h"

namespace fulmar::cpu {

void* allocate(Stream&, size_t bytes) {
  // Large blocks on 2 MiB pages: one image's rows would touch too many small ones. What is left of
  // them lies on small ones: a page that is only begun would be taken whole.
  constexpr size_t line = 64, huge_page = size_t{2} << 20;
  const size_t alignment = bytes >= 2 * huge_page ? huge_page : line;
  const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (!memory)
    device_error("out of memory: " + std::to_string(bytes) +
                 " bytes asked for; use a smaller batch, crop or network");
#ifdef MADV_HUGEPAGE
  if (alignment == huge_page)
    madvise(memory, bytes / huge_page * huge_page,
            MADV_HUGEPAGE);  // only a hint
#endif
  return memory;
}

void release(Stream&, void* memory, size_t) { std::free(memory); }

namespace {

struct Bytes8 {
  uint64_t part[1];
};
struct Bytes32 {
  uint64_t part[4];
};
struct Bytes64 {
  uint64_t part[8];
};

// `count` runs of the size of Block (or of `bytes`), `from` and `to` bytes apart.
template <class Block>
void copy_blocks(const char* x, char* y, int64_t count, int64_t from, int64_t to) {
  for (int64_t i = 0; i < count; i++) std::memcpy(y + i * to, x + i * from, sizeof(Block));
}
void copy_runs(const char* x, char* y, int64_t count, int64_t from, int64_t to, int64_t bytes) {
  if (bytes == from && bytes == to)
    std::memcpy(y, x, static_cast<size_t>(count * bytes));
  else if (bytes == sizeof(uint32_t))
    copy_blocks<uint32_t>(x, y, count, from, to);
  else if (bytes == sizeof(Bytes8))
    copy_blocks<Bytes8>(x, y, count, from, to);
  else if (bytes == sizeof(Bytes32))
    copy_blocks<Bytes32>(x, y, count, from, to);
  else if (bytes == sizeof(Bytes64))
    copy_blocks<Bytes64>(x, y, count, from, to);
  else
    for (int64_t i = 0; i < count; i++)
      std::memcpy(y + i * to, x + i * from, static_cast<size_t>(bytes));
}

// body(image, row) over all rows of a view's shape, a few at a time.
template <class Body>
void for_rows(Stream& stream, const Shape& shape, const Body& body) {
  const int64_t height = shape.height();
  const int64_t grain = rows_per_chunk(shape.width() * shape.channels(), elementwise_grain);
  for_chunks(stream, shape.images() * height, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) body(row / height, row % height);
  });
}

template <class T>
void fill_contiguous(Stream& stream, T* y, int64_t count, T value) {
  for_chunks(stream, count, elementwise_grain,
             [&](int64_t begin, int64_t end, int) { std::fill(y + begin, y + end, value); });
}

template <class T>
void fill_typed(Stream& stream, const View& y, T value) {
  if (y.is_contiguous()) return fill_contiguous(stream, y.as<T>(), y.shape.elements(), value);
  const int64_t channels = y.shape.channels(), width = y.shape.width();
  for_rows(stream, y.shape, [&](int64_t image, int64_t row) {
    T* out = y.at<T>(image, row, 0);
    if (y.stride[2] == channels)
      std::fill_n(out, width * channels, value);
    else
      for (int64_t column = 0; column < width; column++)
        std::fill_n(out + column * y.stride[2], channels, value);
  });
}

}  // namespace

void copy(Stream& stream, const View& x, const View& y) {
  const int64_t size = static_cast<int64_t>(size_of(x.type));
  const int64_t width = x.shape.width(), bytes = x.shape.channels() * size;
  const bool contiguous = x.is_contiguous() && y.is_contiguous();
  if (contiguous && x.bytes() % sizeof(float) == 0) return copy_flat(stream, x, y);
  if (contiguous) {
    for_chunks(stream, static_cast<int64_t>(x.bytes()), elementwise_grain * 4,
               [&](int64_t begin, int64_t end, int) {
                 std::memcpy(y.as<char>() + begin, x.as<char>() + begin,
                             static_cast<size_t>(end - begin));
               });
    return;
  }
  const auto row_of = [size](const View& v, int64_t image, int64_t row) {
    return v.as<char>() + (image * v.stride[0] + row * v.stride[1]) * size;
  };
  for_rows(stream, x.shape, [&](int64_t image, int64_t row) {
    copy_runs(row_of(x, image, row), row_of(y, image, row), width, x.stride[2] * size,
              y.stride[2] * size, bytes);
  });
}

void fill(Stream& stream, const View& y, double value) {
  switch (y.type) {
    case DType::f32:
      return y.is_contiguous() ? fill_flat(stream, y, static_cast<float>(value))
                               : fill_typed(stream, y, static_cast<float>(value));
    case DType::f64:
      return fill_typed(stream, y, value);
    case DType::i32:
      return fill_typed(stream, y, static_cast<int32_t>(value));
    case DType::u16:
      return fill_typed(stream, y, static_cast<uint16_t>(value));
    case DType::u8:
      return fill_typed(stream, y, static_cast<uint8_t>(value));
    case DType::bf16:
      return fill_typed(stream, y, to_bf16(static_cast<float>(value)));
  }
  usage_error("fill: unknown element type");
}

namespace {

// One row of y from one row of x (or from its one pixel, or one channel).
template <class T>
void broadcast_row(const T* x, T* y, int64_t width, int64_t channels, bool one_pixel,
                   bool one_channel) {
  if (one_pixel && one_channel) {
    std::fill_n(y, width * channels, *x);
  } else if (one_pixel) {
    // Doubling: what is written is the source of the next, longer copy.
    const int64_t elements = width * channels;
    std::copy_n(x, channels, y);
    for (int64_t done = channels; done < elements; done *= 2)
      std::copy_n(y, std::min(done, elements - done), y + done);
  } else if (one_channel) {
    for (int64_t column = 0; column < width; column++)
      std::fill_n(y + column * channels, channels, x[column]);
  } else {
    std::copy_n(x, width * channels, y);
  }
}

template <class T>
void broadcast_typed(Stream& stream, const View& x, const View& y) {
  const Shape &from = x.shape, &to = y.shape;
  if (from.elements() == 1) return fill_contiguous(stream, y.as<T>(), to.elements(), *x.as<T>());
  const bool one_pixel = from.width() == 1, one_channel = from.channels() == 1;
  for_rows(stream, to, [&](int64_t image, int64_t row) {
    const T* source = x.at<T>(from.images() == 1 ? 0 : image, from.height() == 1 ? 0 : row, 0);
    T* out = y.as<T>() + (image * to.height() + row) * to.width() * to.channels();
    broadcast_row(source, out, to.width(), to.channels(), one_pixel && to.width() != 1,
                  one_channel && to.channels() != 1);
  });
}

}  // namespace

void broadcast(Stream& stream, const View& x, const View& y) {
  if (x.type != y.type) {
    if (x.shape.elements() == y.shape.elements()) return copy_flat(stream, x, y);
    Scratch<std::byte> memory(static_cast<size_t>(x.shape.elements()) * size_of(y.type));
    const View converted = view_of(memory.data(), x.shape, y.type);
    copy_flat(stream, x, converted);
    return broadcast(stream, converted, y);
  }
  switch (size_of(y.type)) {
    case 8:
      return broadcast_typed<uint64_t>(stream, x, y);
    case 4:
      return broadcast_typed<uint32_t>(stream, x, y);
    case 2:
      return broadcast_typed<uint16_t>(stream, x, y);
    default:
      return broadcast_typed<uint8_t>(stream, x, y);
  }
}

}  // namespace fulmar::cpu
