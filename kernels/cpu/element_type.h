#pragma once

#include <string>
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/error.h"
#include "kernels/view.h"

namespace fulmar::cpu {

// The elements of a tensor that is float or bf16, as T; null where it is left out.
template <class T>
T* elements(const View& view) {
  if (view && view.type != dtype_of<T>())
    usage_error("a kernel of the CPU for " + std::string(name_of(dtype_of<T>())) + " was given " +
                view.to_string());
  return view.as<T>();
}

template <class T>
T element_of(float value) {
  if constexpr (std::is_same_v<T, bf16>)
    return to_bf16(value);
  else
    return value;
}

// body(the element type, of a view that is float or bf16)
template <class Body>
void for_type_of(const View& view, const Body& body) {
  if (view.type == DType::bf16)
    body(std::type_identity<bf16>());
  else
    body(std::type_identity<float>());
}

}  // namespace fulmar::cpu
