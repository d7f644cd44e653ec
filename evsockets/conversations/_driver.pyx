"""Has coroutines go on, and ends what they await with a value, by calls in C."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

cdef extern from *:
    """
    /* Raise StopIteration(value): with *kept, unless somebody else has that or has caught it. What is freed here
       may lead back to here: *kept is empty meanwhile. */
    static int evsockets_give(PyObject **kept, PyObject *value)
    {
        PyStopIterationObject *stop = (PyStopIterationObject *)*kept;
        PyObject *old;
        *kept = NULL;
        if (stop != NULL && (Py_REFCNT(stop) != 1 || stop->traceback != NULL || stop->context != NULL)) {
            Py_DECREF(stop);
            stop = NULL;
        }
        if (stop == NULL)
            stop = (PyStopIterationObject *)PyObject_CallOneArg(PyExc_StopIteration, Py_None);
        if (stop == NULL)
            return -1;
        old = stop->value;
        Py_INCREF(value);
        stop->value = value;
        Py_XDECREF(old);
        Py_INCREF(stop);
        Py_XSETREF(*kept, (PyObject *)stop);
    #if PY_VERSION_HEX >= 0x030C0000
        PyErr_SetRaisedException((PyObject *)stop);
    #else
        Py_INCREF(PyExc_StopIteration);
        PyErr_Restore(PyExc_StopIteration, (PyObject *)stop, NULL);
    #endif
        return 0;
    }

    /* Keep no value alive, nor what has caught it. */
    static void evsockets_forget(PyObject **kept)
    {
        PyStopIterationObject *stop = (PyStopIterationObject *)*kept;
        if (stop == NULL || stop->value == Py_None)
            return;
        if (Py_REFCNT(stop) != 1 || stop->traceback != NULL || stop->context != NULL)
            Py_CLEAR(*kept);
        else {
            Py_INCREF(Py_None);
            Py_XSETREF(stop->value, Py_None);
        }
    }

    /* context.run(coroutine.send, None) */
    static PyObject *evsockets_resume(PyObject *context, PyObject *coroutine)
    {
        PyObject *found = NULL;
        PySendResult how;
        if (PyContext_Enter(context) < 0)
            return NULL;
        how = PyIter_Send(coroutine, Py_None, &found);
        if (PyContext_Exit(context) < 0) {
            Py_XDECREF(found);
            return NULL;
        }
        if (how == PYGEN_RETURN) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, found);
            Py_DECREF(found);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
            return NULL;
        }
        return found;
    }
    """
    int c_give "evsockets_give"(PyObject **kept, object value) except -1
    void c_forget "evsockets_forget"(PyObject **kept)
    object c_resume "evsockets_resume"(object context, object coroutine)


cdef class Driver:
    """Has coroutines go on, and ends what they await with a value, without an exception for each."""

    def __dealloc__(self):
        Py_XDECREF(self.kept)

    cdef object resume(self, context, coroutine):
        try:
            return c_resume(context, coroutine)
        finally:
            c_forget(&self.kept)

    cdef int give(self, value) except -1:
        return c_give(&self.kept, value)  # the caller, a `__next__`, returns without another one

    cdef int forget(self) except -1:
        c_forget(&self.kept)
        return 0
