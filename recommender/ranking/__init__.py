"""Which products to show, from the neighbors.

classic      the weighted mean of the neighbors' ratings
taste        what many neighbors by taste have in common
taste_votes  what `taste` prepares once for a shop
rankings     classic, taste and auto behind one interface
dataframe    `classic` for a DataFrame and a dense similarity
"""
