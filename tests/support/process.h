#pragma once

#include <string>
#include <vector>

namespace fulmar::test {

struct Ended {
  int code = -1;  // exit code; 128 + signal where one ended it
  std::string out, err;
};

struct HowToRun {
  std::vector<std::string> environment{};  // "NAME=value", beside the test's own
  std::string out;                         // stdout goes to this file; "": it is kept
  bool close_out = false;                  // stdout is closed before the start
  bool deaf = false;                       // stdout is a pipe that nobody reads
  bool nobody = false;                     // as a user without rights (tests run by root)
  bool interrupt = false;                  // SIGINT as soon as something is on stdout
};

// Runs a program to its end; one that takes more than five minutes is killed.
Ended run_process(const std::string& program, const std::vector<std::string>& arguments,
                  const HowToRun& how = {});

}  // namespace fulmar::test
