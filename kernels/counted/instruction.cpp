#include "kernels/counted/instruction.h"

#include <algorithm>
#include <array>

namespace fulmar::counted {
namespace {

// A GPU has no instruction that divides whole numbers: about so many of others do it.
constexpr uint64_t division32 = 20, division64 = 70;

bool begins(std::string_view text, std::string_view with) { return text.starts_with(with); }
bool ends(std::string_view text, std::string_view with) { return text.ends_with(with); }
bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

template <size_t n>
bool is_one_of(std::string_view name, const std::array<std::string_view, n>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// "add" of "addl", as names of whole numbers' arithmetic may tell the size.
std::string_view without_size(std::string_view name) {
  return name.size() > 2 && has("bwlq", name.substr(name.size() - 1))
             ? name.substr(0, name.size() - 1)
             : name;
}

// The C library's functions, by the name that a call shows: "<expf@plt>".
Operations called(std::string_view operands) {
  constexpr std::array<std::string_view, 16> functions = {
      "exp", "exp2", "expm1", "log", "log1p", "log2", "tanh", "sin",
      "cos", "pow",  "sqrt",  "erf", "cbrt",  "fmod", "tan",  "atan"};
  Operations o;
  const size_t open = operands.find('<');
  if (open == std::string_view::npos) return o;
  std::string_view name = operands.substr(open + 1);
  name = name.substr(0, name.find_first_of("@>"));
  // Hooks, thread-local addresses; the emulator's operations, which are counted as such.
  if (begins(name, "__") || begins(name, "_ZN6fulmar4simt")) return o;
  if (begins(name, "fulmar_to_bf16")) {
    // The instruction packs one or two; at whole numbers' rate, which no guide states.
    o.integer = 1;
    return o;
  }
  if (is_one_of(name, functions))
    o.special64 = 1;
  else if (ends(name, "f") && is_one_of(name.substr(0, name.size() - 1), functions))
    o.special = 1;
  else
    o.control = 1;
  return o;
}

Operations scalar(std::string_view name) {
  Operations o;
  const bool is64 = ends(name, "sd");
  if (begins(name, "cvt")) {
    o.convert = 1;
  } else if (begins(name, "fmadd") || begins(name, "fmsub") || begins(name, "fnmadd") ||
             begins(name, "fnmsub")) {
    (is64 ? o.fma64 : o.fma32) = 1;
  } else if (begins(name, "add") || begins(name, "sub") || begins(name, "mul")) {
    (is64 ? o.fp64 : o.fp32) = 1;
  } else if (begins(name, "div") || begins(name, "sqrt")) {
    (is64 ? o.special64 : o.special) = 1;
  } else if (has(name, "comis") || begins(name, "cmp") || begins(name, "min") ||
             begins(name, "max")) {
    // A GPU compares floats where it computes with whole numbers.
    (is64 ? o.fp64 : o.integer) = 1;
  }
  return o;
}

}  // namespace

Operations operations_of(std::string_view name, std::string_view operands) {
  Operations o;
  if (begins(name, "call")) return called(operands);
  if (name == "jmp" && has(operands, "<__tsan")) return o;
  if (begins(name, "j")) {
    o.control = 1;
    return o;
  }
  const bool of_vectors = begins(name, "v");
  const std::string_view plain = of_vectors ? name.substr(1) : name;
  if (ends(plain, "ss") || ends(plain, "sd") || begins(plain, "cvt")) return scalar(plain);
  if (of_vectors) return o;
  const std::string_view unsized = without_size(name);
  if (unsized == "div" || unsized == "idiv") {
    const bool wide = ends(name, "q") || (begins(operands, "%r") && !ends(operands, "d"));
    o.integer = wide ? division64 : division32;
    return o;
  }
  if (has(operands, "%rsp")) return o;
  // Zero, a test for it beside its own use, and the arguments of hooks.
  if (name == "xor") {
    const size_t comma = operands.find(',');
    if (comma != std::string_view::npos && operands.substr(0, comma) == operands.substr(comma + 1))
      return o;
  }
  if (name == "lea" && ends(operands, ",%rdi")) return o;
  // An address and a constant: a GPU's accesses add it by themselves.
  if (name == "lea" && has(operands, "(%") && operands.find(',') > operands.find(')')) return o;
  constexpr std::array<std::string_view, 24> of_whole = {
      "add", "sub", "imul", "mul", "inc", "dec",  "neg", "not", "and",  "or",     "xor", "shl",
      "shr", "sar", "sal",  "lea", "cmp", "test", "adc", "sbb", "shlx", "popcnt", "bt",  "rol"};
  if (is_one_of(unsized, of_whole) || is_one_of(name, of_whole) || begins(name, "set") ||
      begins(name, "cmov"))
    o.integer = 1;
  return o;
}

}  // namespace fulmar::counted
