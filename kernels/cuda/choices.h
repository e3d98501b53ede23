#pragma once

#include <map>
#include <string>

namespace fulmar::cuda {

// Which algorithm was chosen for what: a line of text for each, "key => choice". To be kept with a
// run, so that it can go on with the same ones.
class Choices {
 public:
  // Empty where there is none.
  std::string find(const std::string& key) const;
  // Neither may hold a line's end, the key no " => ".
  void set(const std::string& key, const std::string& choice);

  // A line with version, count and checksum, then the choices in the order of their keys.
  std::string text() const;
  // Error(file) by line where `text` is no such text.
  static Choices parse(const std::string& text);

  const std::map<std::string, std::string>& all() const { return choices_; }

 private:
  std::map<std::string, std::string> choices_;
};

}  // namespace fulmar::cuda
