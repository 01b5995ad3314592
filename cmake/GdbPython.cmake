# Finds the Python that is embedded in GDB.
#
# The native module is loaded by the interpreter inside GDB, which is the one GDB was linked
# against and often not the first `python3` on PATH (pyenv, conda, a virtual environment). So GDB is
# asked, and everything that is built for Python is built for that one.
#
# In:  CKPT_PYTHON (cache)  an interpreter chosen by the user; GDB is then only asked whether it fits.
# Out: Python_EXECUTABLE    for find_package(Python).

set(CKPT_GDB "gdb" CACHE STRING "The GDB whose embedded Python the native module is built for")
set(CKPT_PYTHON "" CACHE FILEPATH "Python interpreter to build for (default: the one embedded in GDB)")

set(_probe "import sys; print('ckpt-python', '%d.%d' % sys.version_info[:2], sys.base_prefix)")
execute_process(
  COMMAND ${CKPT_GDB} -nx -batch -ex "python ${_probe}"
  OUTPUT_VARIABLE _gdb_says
  ERROR_QUIET
  RESULT_VARIABLE _gdb_status)

set(_gdb_version "")
set(_gdb_prefix "")
if(_gdb_says MATCHES "ckpt-python ([0-9]+\\.[0-9]+) ([^\n]+)")
  set(_gdb_version "${CMAKE_MATCH_1}")
  set(_gdb_prefix "${CMAKE_MATCH_2}")
else()
  message(WARNING "'${CKPT_GDB}' is missing or has no Python (status: ${_gdb_status}); "
                  "building for /usr/bin/python3. Set CKPT_GDB or CKPT_PYTHON to choose.")
endif()

if(CKPT_PYTHON)
  set(Python_EXECUTABLE "${CKPT_PYTHON}")
elseif(_gdb_prefix AND EXISTS "${_gdb_prefix}/bin/python${_gdb_version}")
  set(Python_EXECUTABLE "${_gdb_prefix}/bin/python${_gdb_version}")
else()
  set(Python_EXECUTABLE "/usr/bin/python3")
endif()

execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import sys; print('%d.%d' % sys.version_info[:2])"
  OUTPUT_VARIABLE _chosen_version OUTPUT_STRIP_TRAILING_WHITESPACE)
if(_gdb_version AND NOT _chosen_version STREQUAL _gdb_version)
  message(WARNING "GDB's Python is ${_gdb_version}, but ${Python_EXECUTABLE} is ${_chosen_version}: "
                  "GDB will not be able to load the native module.")
endif()
message(STATUS "GDB's Python: ${_gdb_version} (${_gdb_prefix}); building for ${Python_EXECUTABLE}")
