#pragma once

// Marks the symbols that the shared library exports; all others have hidden visibility.
#define FULMAR_API __attribute__((visibility("default")))
