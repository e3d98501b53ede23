#include "model/tfevents.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

namespace {

using fulmar::model::Event;
using fulmar::model::EventFile;
using fulmar::model::read_events;
using fulmar::model::Scalar;
using fulmar::test::TempFolder;

constexpr uint64_t megabyte = 1 << 20;
constexpr int64_t all = INT64_MAX;

std::string bytes_of(const std::string& path) { return fulmar::read_file(path, megabyte); }

void write_example(const std::string& path) {
  EventFile file(path, all, 1'700'000'000.5);
  file.add(1, std::vector<Scalar>{{"train/loss", 0.625f}, {"train/accuracy", 0.5f}}, 1'700'000'001);
  file.add(300, std::vector<Scalar>{{"train/loss", 0.25f}}, 1'700'000'002);
  file.add(int64_t{1} << 40, std::vector<Scalar>{{"größe", -1.5f}}, 1'700'000'003.25);
  file.sync();
}

void add_steps(EventFile& file, int64_t first, int64_t last) {
  for (int64_t step = first; step <= last; step++)
    file.add(step, std::vector<Scalar>{{"loss", 1.0f / static_cast<float>(step)}}, 7);
}

}  // namespace

TEST_CASE("event files have the bytes that TensorBoard was seen to read") {
  TempFolder folder;
  write_example(folder.path("events.tfevents"));
  CHECK(bytes_of(folder.path("events.tfevents")) ==
        bytes_of(fulmar::test::golden("fulmar.tfevents")));
}

TEST_CASE("a file of TensorFlow's own writer is read") {
  const std::vector<Event> events = read_events(fulmar::test::golden("tensorflow.tfevents"));
  REQUIRE(events.size() == 3);
  CHECK(events[0].file_version == "brain.Event:2");
  CHECK(events[1].step == 5);
  REQUIRE(events[1].scalars.size() == 1);
  CHECK(events[1].scalars[0].tag == "loss");
  CHECK(events[1].scalars[0].value == 0.75f);
  CHECK(events[2].step == 6);
}

TEST_CASE("frames: length, masked CRC of the length, data, masked CRC of the data") {
  TempFolder folder;
  write_example(folder.path("a"));
  const std::string bytes = bytes_of(folder.path("a"));
  size_t at = 0;
  int records = 0;
  const auto masked = [](const char* data, size_t count) {
    const uint32_t crc = fulmar::crc32c_portable(data, count);
    return static_cast<uint32_t>((crc >> 15 | crc << 17) + 0xa282ead8u);
  };
  while (at < bytes.size()) {
    uint64_t length = 0;
    uint32_t length_crc = 0, data_crc = 0;
    std::memcpy(&length, &bytes[at], 8);
    std::memcpy(&length_crc, &bytes[at + 8], 4);
    REQUIRE(at + 16 + length <= bytes.size());
    std::memcpy(&data_crc, &bytes[at + 12 + length], 4);
    CHECK(length_crc == masked(&bytes[at], 8));
    CHECK(data_crc == masked(&bytes[at + 12], length));
    at += 16 + length;
    records++;
  }
  CHECK(records == 4);
}

TEST_CASE("what was written is read back") {
  TempFolder folder;
  write_example(folder.path("a"));
  const std::vector<Event> events = read_events(folder.path("a"));
  REQUIRE(events.size() == 4);
  CHECK(events[0].file_version == "brain.Event:2");
  CHECK(events[0].wall_time_s == 1'700'000'000.5);
  CHECK(events[1].step == 1);
  REQUIRE(events[1].scalars.size() == 2);
  CHECK(events[1].scalars[1].tag == "train/accuracy");
  CHECK(events[1].scalars[1].value == 0.5f);
  CHECK(events[3].step == int64_t{1} << 40);
  CHECK(events[3].scalars[0].tag == "größe");
}

TEST_CASE("a file cut back to a step and continued equals one that was never interrupted") {
  TempFolder folder;
  {
    EventFile whole(folder.path("whole"), all, 3);
    add_steps(whole, 1, 9);
  }
  for (const int64_t checkpoint : {0, 1, 4, 6}) {
    CAPTURE(checkpoint);
    {
      EventFile file(folder.path("cut"), 0, 3);
      add_steps(file, 1, 6);
    }
    EventFile file(folder.path("cut"), checkpoint, 99);
    add_steps(file, checkpoint + 1, 9);
    CHECK(bytes_of(folder.path("cut")) == bytes_of(folder.path("whole")));
  }
}

TEST_CASE("whatever a killed program leaves of its last record is cut away") {
  TempFolder folder;
  const std::string path = folder.path("a");
  {
    EventFile file(path, all, 3);
    add_steps(file, 1, 2);
  }
  const std::string two = bytes_of(path);
  {
    EventFile file(path, all, 3);
    add_steps(file, 3, 3);
  }
  const std::string three = bytes_of(path);
  for (size_t length = two.size(); length < three.size(); length++) {
    fulmar::write_file(path, three.substr(0, length));
    CHECK(read_events(path).size() == 3);
    EventFile file(path, all, 99);
    add_steps(file, 3, 3);
    CHECK(bytes_of(path) == three);
  }
  // A power cut may leave zeros, or a record with wrong bytes.
  fulmar::write_file(path, two + std::string(50, '\0'));
  CHECK(read_events(path).size() == 3);
  std::string wrong = three;
  wrong[two.size() + 20]++;
  fulmar::write_file(path, wrong);
  { EventFile(path, all, 99); }
  CHECK(bytes_of(path) == two);
  // The first record itself.
  fulmar::write_file(path, two.substr(0, 10));
  {
    EventFile file(path, all, 3);
    add_steps(file, 1, 2);
  }
  CHECK(bytes_of(path) == two);
}

TEST_CASE("a file of another kind is not overwritten") {
  TempFolder folder;
  const std::string text = "these are somebody's notes, of more bytes than a first record has";
  fulmar::write_file(folder.path("notes"), text);
  CHECK_THROWS_AS(EventFile(folder.path("notes"), all, 3), fulmar::Error);
  CHECK(bytes_of(folder.path("notes")) == text);
}
