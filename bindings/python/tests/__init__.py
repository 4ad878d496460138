"""The tests of the wrapper. A hang is a failure: after five minutes every thread's stack is printed and the run ends."""

import faulthandler

faulthandler.dump_traceback_later(300, exit=True)
