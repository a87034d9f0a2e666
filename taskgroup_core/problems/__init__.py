"""Problems: data sets turned into tasks with splits."""
