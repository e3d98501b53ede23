#include "kernels/view.h"

#include "kernels/error.h"

namespace fulmar {

size_t size_of(DType type) {
  switch (type) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::u16:
      return 2;
    case DType::u8:
      return 1;
  }
  usage_error("unknown element type");
}

const char* name_of(DType type) {
  switch (type) {
    case DType::f64:
      return "f64";
    case DType::f32:
      return "f32";
    case DType::i32:
      return "i32";
    case DType::bf16:
      return "bf16";
    case DType::u16:
      return "u16";
    case DType::u8:
      return "u8";
  }
  usage_error("unknown element type");
}

Shape::Shape(std::initializer_list<int64_t> extents) {
  if (extents.size() > max_rank)
    usage_error("a shape has at most 4 extents, " + std::to_string(extents.size()) + " given");
  for (int64_t extent : extents) extents_[rank_++] = extent;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; axis++)
    text += (axis ? "," : "") + std::to_string(extents_[axis]);
  return text + "]";
}

bool View::is_contiguous() const {
  const View dense = view_of(data, shape, type);
  // A stride over an axis of extent 1 is never used.
  return (shape.images() == 1 || stride[0] == dense.stride[0]) &&
         (shape.height() == 1 || stride[1] == dense.stride[1]) &&
         (shape.width() == 1 || stride[2] == dense.stride[2]);
}

std::string View::to_string() const { return shape.to_string() + " " + name_of(type); }

View view_of(void* data, const Shape& shape, DType type) {
  const int64_t pixel = shape.channels();
  const int64_t row = pixel * shape.width();
  return View{data, shape, {row * shape.height(), row, pixel}, type};
}

}  // namespace fulmar
