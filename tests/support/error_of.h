#pragma once

#include <string>

#include "kernels/error.h"

namespace fulmar::test {

// The message of the Error of this kind that action() throws; "no error" where it throws none.
template <class Action>
std::string error_of(ErrorKind kind, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind() == kind ? error.what()
                                : "an error of another kind: " + std::string(error.what());
  }
  return "no error";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace fulmar::test
