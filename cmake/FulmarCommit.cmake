# Included: adds the target that keeps fulmar_commit.h true; run with -P: writes that file.
# The commit that is built, "+" behind it when the tree has changes; "unknown" outside git.
if(CMAKE_SCRIPT_MODE_FILE)
  cmake_minimum_required(VERSION 3.22)
  set(text unknown)
  find_package(Git QUIET)
  if(Git_FOUND)
    execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --abbrev=12 --dirty=+ --exclude=*
      WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit RESULT_VARIABLE failed
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT failed)
      set(text ${commit})
    endif()
  endif()
  file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define FULMAR_COMMIT \"${text}\"\n")
  return()
endif()

# Only version.cpp includes it, so that a new commit rebuilds one file.
set(FULMAR_COMMIT_HEADER ${PROJECT_BINARY_DIR}/generated/fulmar_commit.h)
add_custom_target(fulmar_commit BYPRODUCTS ${FULMAR_COMMIT_HEADER}
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DHEADER=${FULMAR_COMMIT_HEADER}
    -P ${CMAKE_CURRENT_LIST_FILE}
  COMMENT "Asking git for the commit")
