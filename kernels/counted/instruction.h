#pragma once

#include <string_view>

#include "kernels/counted/counts.h"

namespace fulmar::counted {

// What an instruction of x86-64 computes, by its name and its operands in AT&T's notation. Moves
// compute nothing, nor does what the compiler adds for its calls to the hooks.
Operations operations_of(std::string_view name, std::string_view operands);

}  // namespace fulmar::counted
