#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace fulmar::keras {

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// What an HDF5 file, or a .keras archive, holds: arrays and texts by their paths.
struct KerasFile {
  std::string path;  // of the file
  std::map<std::string, Array> arrays;
  // Attributes of objects, "PATH\nNAME".
  std::map<std::string, std::vector<std::string>> attributes;
  std::map<std::string, std::string> texts;  // files of an archive: "config.json"

  // A text by the object's path and the attribute's name; empty where there is none.
  std::string text(const std::string& object, const std::string& name) const;
  // A list of texts, which Keras splits where it is long: NAME, or NAME0, NAME1, …
  std::vector<std::string> list(const std::string& object, const std::string& name) const;

  bool is_archive() const { return !texts.empty(); }
  std::string config() const;   // the model's JSON; empty: the file holds weights alone
  std::string version() const;  // of Keras, "2.15.0"; may be empty
};

// Reads a file through fulmar-hdf5, a program beside this one: what crashes on a damaged file is
// then a child. Error(file) naming the file and what is wrong with it, or that the child is
// missing.
KerasFile read_keras_file(const std::string& path);

// Messages of fulmar-hdf5 (hdf5_messages.h) one after another, as they came in.
class MessageReader {
 public:
  explicit MessageReader(KerasFile& file) : file_(file) {}
  // Takes what is whole off the front. Error(file) for what is no message, and for an error that
  // the child tells.
  void take(std::string& bytes);
  bool ended() const { return ended_; }

 private:
  KerasFile& file_;
  uint64_t text_bytes_ = 0, array_bytes_ = 0;
  bool ended_ = false;
};

}  // namespace fulmar::keras
