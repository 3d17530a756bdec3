"""Networks measured: accuracy, costs, exports, imports."""
