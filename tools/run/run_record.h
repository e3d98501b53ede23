#pragma once

#include <string>

#include "tools/run/json.h"

namespace fulmar::tools {

// run.json of a run folder: how a run came about, for its report. Nothing of it decides what a
// training gives.
//
//   sessions  each time the program worked on it: command, time (UTC), machine, fulmar, commit, and
//             how it ended: "finished", "stopped early", "interrupted", "diverged", "failed", null
//             while it goes on or where it was killed
//   data      what is known of its pictures (data_json), null before the end
class RunRecord {
 public:
  // What is there already stays. Error(file) where that isn't a record.
  explicit RunRecord(std::string path);

  // Each writes the file. Error(file) where that can't be done.
  void begin(const std::string& command, const Json& machine);
  void end(const std::string& how);
  void keep_data(Json data);

 private:
  void write() const;

  std::string path_;
  Json json_;
};

// run.json; null where there is none. Error(file) where it isn't a record.
Json read_record(const std::string& path);

}  // namespace fulmar::tools
