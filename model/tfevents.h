#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/file.h"

namespace fulmar::model {

struct Scalar {
  std::string tag;  // "train/loss"
  float value = 0;
};

// One record of a TensorBoard event file.
struct Event {
  double wall_time_s = 0;  // since 1970
  int64_t step = 0;
  std::string file_version;  // of the first record only: "brain.Event:2"
  std::vector<Scalar> scalars;
};

// An event file for TensorBoard: TFRecord frames (length, masked CRC-32C of the length, data,
// masked CRC-32C of the data; tensorflow/core/lib/io/record_writer.h) of Event messages
// (tensorflow/core/util/event.proto). TensorBoard finds files with "tfevents" in their name.
class EventFile {
 public:
  // Opens or begins the file. Cuts away events of steps above `keep_through`, and everything
  // from the first incomplete or damaged record on, as a killed program leaves it.
  // `wall_time_s` is for the first record of a new file. Error(file), also for another kind of
  // file.
  EventFile(const std::string& path, int64_t keep_through, double wall_time_s);

  void add(int64_t step, std::span<const Scalar> scalars, double wall_time_s);
  void sync() { file_.sync(); }

 private:
  AppendFile file_;
};

// All records before the first incomplete or damaged one.
std::vector<Event> read_events(const std::string& path);

}  // namespace fulmar::model
