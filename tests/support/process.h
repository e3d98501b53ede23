#pragma once

#include <csignal>
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
  bool interrupt = false;                  // a signal as soon as something is on stdout
  std::string interrupt_at;                // or, where this is not empty, once it is on stderr
  int signal = SIGINT;                     // which
  std::string folder;                      // where it runs; "": where the test does
};

// Runs a program to its end; one that takes more than five minutes is killed.
Ended run_process(const std::string& program, const std::vector<std::string>& arguments,
                  const HowToRun& how = {});

}  // namespace fulmar::test
