#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"

namespace fulmar::cuda {
namespace {

// Where a pixel's channels begin in a strided view.
struct Strides {
  int64_t image, row, pixel;
  FULMAR_DEVICE int64_t at(const Pixel& p) const {
    return p.image * image + p.row * row + p.column * pixel + p.channel;
  }
};
Strides strides_of(const View& view) { return {view.stride[0], view.stride[1], view.stride[2]}; }

template <class T>
struct CopyFlat {
  const T* x;
  T* y;
  template <int lanes>
  FULMAR_DEVICE void run(int64_t i) const {
    store<lanes>(y + i, load<lanes>(x + i));
  }
};

template <class T>
struct CopyStrided {
  const T* x;
  T* y;
  Strides from, to;
  Extent extent;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const Pixel p = extent.pixel(i, 1);
    y[to.at(p)] = x[from.at(p)];
  }
};

template <class T>
void copy_typed(const Stream& stream, const View& x, const View& y) {
  const T* from = x.as<T>();
  T* to = y.as<T>();
  if (x.is_contiguous() && y.is_contiguous())
    return each_several<T>(stream, "copy", x.shape.elements(), CopyFlat<T>{from, to}, from, to);
  each(stream, "copy", x.shape.elements(),
       CopyStrided<T>{from, to, strides_of(x), strides_of(y), extent_of(x.shape)});
}

template <class T>
struct Fill {
  T* y;
  T value;
  Strides to;
  Extent extent;
  FULMAR_DEVICE void operator()(int64_t i) const { y[to.at(extent.pixel(i, 1))] = value; }
};

template <class T>
void fill_typed(const Stream& stream, const View& y, T value) {
  each(stream, "fill", y.shape.elements(),
       Fill<T>{y.as<T>(), value, strides_of(y), extent_of(y.shape)});
}

template <class From, class To>
struct Broadcast {
  const From* x;
  To* y;
  Extent from, to;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const Pixel p = to.pixel(i, 1);
    const int64_t image = from.images == 1 ? 0 : p.image, row = from.height == 1 ? 0 : p.row;
    const int64_t column = from.width == 1 ? 0 : p.column;
    y[i] =
        rounded<To>(number(x[from.at(image, row, column) + (from.channels == 1 ? 0 : p.channel)]));
  }
};

template <class From, class To = From>
void broadcast_typed(const Stream& stream, const View& x, const View& y) {
  each(stream, "broadcast", y.shape.elements(),
       Broadcast<From, To>{x.as<From>(), y.as<To>(), extent_of(x.shape), extent_of(y.shape)});
}

template <class T>
struct Nonfinite {
  const T* x;
  FULMAR_DEVICE void operator()(int64_t, int64_t row, int64_t, RunSum<1>& run) const {
    const Number<T> value = number(x[row]), difference = value - value;  // NaN where not finite
    if (!(difference == 0)) run.of[0] += 1;
  }
};
struct AddToCount {
  int32_t* count;
  bool first;  // of the operands
  FULMAR_DEVICE void operator()(int64_t, int64_t, const Sum<1>& sum) const {
    constexpr double most = 2147483647;
    const double all = sum.of[0] + (first ? 0 : *count);
    *count = static_cast<int32_t>(all < most ? all : most);
  }
};

// An earlier count adds itself.
struct AddCounted {
  const int32_t* x;
  AddToCount add;
  FULMAR_DEVICE void operator()(int64_t) const {
    Sum<1> sum;
    sum.of[0] = *x;
    add(0, 0, sum);
  }
};

template <class T>
void count_typed(Stream& stream, const View& x, const AddToCount& add) {
  sum_rows<1>(stream, "count_nonfinite", {1, x.shape.elements(), 1}, Nonfinite<T>{x.as<T>()}, add);
}

}  // namespace

void copy(Stream& stream, const View& x, const View& y) {
  switch (size_of(x.type)) {
    case 8:
      return copy_typed<uint64_t>(stream, x, y);
    case 4:
      return copy_typed<uint32_t>(stream, x, y);
    case 2:
      return copy_typed<uint16_t>(stream, x, y);
    default:
      return copy_typed<uint8_t>(stream, x, y);
  }
}

void fill(Stream& stream, const View& y, double value) {
  switch (y.type) {
    case DType::f32:
      return fill_typed(stream, y, static_cast<float>(value));
    case DType::f64:
      return fill_typed(stream, y, static_cast<double>(value));
    case DType::i32:
      return fill_typed(stream, y, static_cast<int32_t>(value));
    case DType::u16:
      return fill_typed(stream, y, static_cast<uint16_t>(value));
    case DType::u8:
      return fill_typed(stream, y, static_cast<uint8_t>(value));
    case DType::bf16:
      return fill_typed(stream, y, to_bf16(static_cast<float>(value)));
  }
  usage_error("cuda: fill of an unknown element type");
}

void broadcast(Stream& stream, const View& x, const View& y) {
  if (x.type == DType::f32 && y.type == DType::bf16)
    return broadcast_typed<float, bf16>(stream, x, y);
  if (x.type == DType::bf16 && y.type == DType::f32)
    return broadcast_typed<bf16, float>(stream, x, y);
  if (x.type != y.type)
    usage_error(std::string("cuda: broadcast from ") + name_of(x.type) + " to " + name_of(y.type));
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

void count_nonfinite(Stream& stream, std::span<const View> x, const View& count) {
  AddToCount add{elements<int32_t>(count), true};
  for (const View& view : x) {
    if (view.type == DType::f32)
      count_typed<float>(stream, view, add);
    else if (view.type == DType::f64)
      count_typed<double>(stream, view, add);
    else if (view.type == DType::bf16)
      count_typed<bf16>(stream, view, add);
    else
      each(stream, "count_nonfinite", 1, AddCounted{elements<int32_t>(view), add});
    add.first = false;
  }
  if (add.first) fill(stream, count, 0);
}

}  // namespace fulmar::cuda
