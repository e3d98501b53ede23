#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/support/built.h"
#include "tests/support/program.h"

namespace fulmar::test {

// Everything below a folder: contents by path.
inline std::map<std::string, std::string> contents_of(const std::string& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    contents[entry.path().string()] =
        entry.is_regular_file() ? read_file(entry.path().string(), 1 << 24) : "";
  return contents;
}

struct Refusal {
  std::vector<std::string> arguments;
  int code = 3;
  std::vector<std::string> said{};  // parts of what stderr says: the file, and what to do
};

// Nothing of what a sanitizer says, or of a fault that was not foreseen.
inline void check_clean(const Ended& e) {
  for (const char* fault : {"Sanitizer", "runtime error:", "a fault of the program itself"})
    CHECK_FALSE(has(e.err, fault));
}

// Runs the program and checks that it refuses as told, and that nothing below `folder` has changed:
// nothing half-written, no good file harmed.
inline Ended check_refused(const Refusal& refusal, const std::string& folder,
                           const HowToRun& how = {}, const std::string& program = built::program) {
  std::string line = "fulmar";
  for (const std::string& argument : refusal.arguments) line += " " + argument;
  CAPTURE(line);
  const auto before = contents_of(folder);
  Ended e = run_process(program, refusal.arguments, how);
  CAPTURE(e.err);
  CHECK(e.code == refusal.code);
  CHECK(has(e.err, "fulmar: "));
  for (const std::string& part : refusal.said) {
    CAPTURE(part);
    CHECK(has(e.err, part));
  }
  check_clean(e);
  const auto after = contents_of(folder);
  for (const auto& file : after) {
    CAPTURE(file.first);
    CHECK(before.count(file.first) == 1);
    if (before.count(file.first) == 1) CHECK(before.at(file.first) == file.second);
  }
  CHECK(before.size() == after.size());
  return e;
}

}  // namespace fulmar::test
