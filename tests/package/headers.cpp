#include EVERY_HEADER

#include <cstdio>

int main() {
  std::printf("fulmar %s (%s)\n", fulmar::version(), fulmar::commit());
  return 0;
}
